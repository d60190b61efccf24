/** A way of asking for pictures and of telling about them. One engine, several dialects. */
import type { JobResult, PreviewEvent } from "../jobs/events.ts";
import type { Job } from "../jobs/job.ts";
import type { Parsed } from "../schema/parse.ts";
import type { ParsedInput } from "../schema/input.ts";

export interface Dialect {
  parse(body: unknown): Parsed<ParsedInput>;
  /** Both give objects that are ready to be turned into JSON. */
  preview(event: PreviewEvent, job: Job): object;
  result(result: JobResult, job: Job): object;
}
