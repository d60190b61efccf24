/** A way of asking for pictures and of telling about them. One engine, several dialects. */
import type { JobResult, PreviewEvent } from "../jobs/events.ts";
import type { Job } from "../jobs/job.ts";
import type { Fitted } from "../jobs/submission.ts";
import type { ModelInfo } from "../protocol/messages.ts";
import type { ParsedInput } from "../schema/input.ts";
import type { Image } from "../schema/output.ts";
import type { Parsed } from "../schema/parse.ts";

export interface Dialect {
  /** What stored requests call it. */
  readonly name: string;
  parse(body: unknown): Parsed<ParsedInput>;
  /** What the loaded model makes of it. */
  fit(input: ParsedInput, model: ModelInfo): Fitted;
  /** Both give objects that are ready to be turned into JSON. */
  preview(event: PreviewEvent, job: Job): object;
  /** @param images The finished pictures where the client will find them: inside the answer, or as files. */
  result(result: JobResult, job: Job, images: readonly Image[]): object;
}
