/** Which of the models a request gets. */
import { LatentcastError } from "../errors.ts";
import type { UnservedModel } from "../protocol/messages.ts";
import { invalidRequest, type Serving } from "./request.ts";
import type { Submission } from "./submission.ts";
import { withoutFolders } from "./without-folders.ts";

/** What there is: the first is that of requests which name none. */
export interface Choice {
  readonly models: readonly Serving[];
  /** Those that the operator named as well, and that cannot be served. */
  readonly unserved: readonly UnservedModel[];
}

export interface ChosenModel {
  readonly serving: Serving;
  readonly warnings: readonly string[];
}

/**
 * The model that a request names, by its dialect's own rules where it has some; the first for one that names none. Throws
 * `invalid_request` for a name that is not there, and `worker_unavailable` for a model that cannot be served.
 */
export function chooseModel(
  { input, chooseModel: choose }: Pick<Submission, "input" | "chooseModel">,
  { models, unserved }: Choice,
): ChosenModel {
  const [first] = models;
  if (first === undefined) throw new LatentcastError("worker_unavailable");
  const names = [...models.map(({ model }) => model.id), ...unserved.map(({ id }) => id)];
  const name = choose === undefined ? (input.model ?? undefined) : choose(names);
  if (name === undefined) return { serving: first, warnings: [] };
  const serving = models.find(({ model }) => model.id === name);
  if (serving !== undefined) return { serving, warnings: [] };
  if (names.length === 1) return { serving: first, warnings: [ignored(name, first)] };
  const problem = unserved.find(({ id }) => id === name)?.problem;
  if (problem !== undefined) throw unservable(problem);
  const listed = names.map((each) => JSON.stringify(each)).join(", ");
  const msg = `there is no model ${JSON.stringify(name)}; there is ${listed}`;
  throw invalidRequest([{ loc: ["body", "model"], msg, type: "unknown_model" }]);
}

/** The model of a request cannot be loaded; others may be. */
export function unservable(problem: string): LatentcastError {
  const message = `This model cannot be loaded: ${withoutFolders(problem)}`;
  return new LatentcastError("worker_unavailable", { message, retryAfterSeconds: 60, cause: problem });
}

/** As before there could be several: whatever programs call the one model, it draws. */
function ignored(name: string, { model }: Serving): string {
  return `model ${JSON.stringify(name)} was ignored: this server has one model, ${JSON.stringify(model.id)}`;
}
