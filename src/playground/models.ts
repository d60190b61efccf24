/** Which of the server's models the next picture is made with. */
import type { Models, OfferedModel } from "./service.ts";

export interface ResolvedModel {
  readonly served: OfferedModel;
  /** What requests say; empty where the server has no other. */
  readonly name: string;
  /** Why it is not the one that was named; empty where it is. */
  readonly remark: string;
}

/** @param named By a link, an earlier picture or the visitor; empty for none. Undefined where the server has no model yet. */
export function resolveModel(named: string, { served, unserved }: Models): ResolvedModel | undefined {
  const [first] = served;
  if (first === undefined) return undefined;
  const found = served.find(({ model }) => model.id === named);
  const chosen = found ?? first;
  return {
    served: chosen,
    name: served.length + unserved.length > 1 ? chosen.model.id : "",
    remark: named === "" || found !== undefined ? "" : `${explain(named, unserved)} ${first.model.id} is used instead.`,
  };
}

function explain(named: string, unserved: Models["unserved"]): string {
  const problem = unserved.find(({ id }) => id === named)?.problem;
  return problem === undefined
    ? `This server does not have the model ${named}.`
    : `This server cannot load the model ${named}: ${problem.replace(/\.$/, "")}.`;
}

/** What the next picture has to wait for, if anything. */
export function describeLoading({ isLoaded, problem }: OfferedModel): string {
  if (problem !== "") return `It could not be loaded the last time: ${problem}`;
  return isLoaded ? "" : "Not loaded now: its first picture takes longer.";
}
