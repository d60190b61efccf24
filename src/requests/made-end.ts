/** How a request ends, made from how its job ended: the dialect's result with its images published, or the error. */
import type { QueueDialect } from "../dialects/dialect.ts";
import { toLatentcastError, type LatentcastError } from "../errors.ts";
import { terminalError, type JobResult, type TerminalEvent } from "../jobs/events.ts";
import { toAsciiJsonBytes } from "../schema/json.ts";
import type { LogLine } from "../schema/queue.ts";
import type { PublishedImages, ServedImage } from "../storage/published-images.ts";
import type { Ended } from "../storage/request-store.ts";
import type { LiveRequest } from "./live-request.ts";

export interface MadeEnd {
  readonly ended: Ended;
  /** To be discarded when another end counts. */
  readonly images: readonly ServedImage[];
}

export interface EndMakerOptions {
  readonly images: PublishedImages;
  /** Throws for a name that no dialect has. */
  readonly dialect: (name: string) => QueueDialect;
}

/** Rejects with `overloaded` when the images cannot be kept for the moment. */
export async function makeEnd(live: LiveRequest, event: TerminalEvent, options: EndMakerOptions): Promise<MadeEnd> {
  if (event.kind !== "succeeded") return failed(live, terminalError(event));
  try {
    return await succeeded(live, event.result, options);
  } catch (error) {
    const reason = toLatentcastError(error);
    // Whoever keeps the images does not answer for the moment: that is no end.
    if (reason.code === "overloaded") throw reason;
    return failed(live, reason);
  }
}

/** The end of a request that failed. Errors are shaped when they are asked for. */
export function failure({ code, message, fields }: LatentcastError, logs: readonly LogLine[] = []): Ended {
  const error = { code, message, fields: [...fields] };
  return { result: { endedAtMs: Date.now(), error, inferenceMs: null, logs }, body: Buffer.alloc(0) };
}

/** Whether both are the same end. Times and the names of files tell two ends of one request apart. */
export function isSameEnd(one: Ended, other: Ended): boolean {
  return (
    one.result.endedAtMs === other.result.endedAtMs &&
    one.result.error?.code === other.result.error?.code &&
    one.body.equals(other.body)
  );
}

async function succeeded(live: LiveRequest, result: JobResult, { images, dialect }: EndMakerOptions): Promise<MadeEnd> {
  const { request, job, logs } = live;
  const isInline = request.input?.sync_mode !== false;
  const published = await images.publish(result.images, { isInline, baseUrl: request.baseUrl });
  const body = toAsciiJsonBytes(dialect(request.dialect).result(result, job, published));
  live.log("finished");
  const { inferenceMs } = result.timings;
  return { ended: { result: { endedAtMs: Date.now(), error: null, inferenceMs, logs }, body }, images: published };
}

function failed(live: LiveRequest, error: LatentcastError): MadeEnd {
  live.log(error.message, "ERROR");
  return { ended: failure(error, live.logs), images: [] };
}
