/** The named events of one request, made from what happens to its job. */
import { randomBytes } from "node:crypto";
import type { Entry } from "../jobs/event-log.ts";
import type { JobPreview } from "../jobs/events.ts";
import { toAsciiJsonBytes } from "../schema/json.ts";
import type { RequestEventName } from "../schema/queue.ts";
import type { RequestResponse } from "./response.ts";

/** The last event of every request, in this process or after it. */
export const FINAL_EVENT_ID = "end";

export class RequestEvent {
  readonly id: string;
  readonly name: RequestEventName;
  readonly #toJson: () => Buffer;
  #json: Buffer | undefined;

  constructor(id: string, name: RequestEventName, toJson: () => Buffer) {
    this.id = id;
    this.name = name;
    this.#toJson = toJson;
  }

  /** One line, ASCII. Made once for all listeners, when the first of them reads it: base64 of an image takes time. */
  get json(): Buffer {
    this.#json ??= this.#toJson();
    return this.#json;
  }
}

/** Which id the event of a number has. */
export interface EventIds {
  of(sequence: number): string;
  /** Undefined for an id that means nothing here. */
  sequenceOf(id: string | undefined): number | undefined;
}

/** Ids of the events of this process. Another process gives out other ids. */
export class ProcessEventIds implements EventIds {
  readonly #life = randomBytes(6).toString("base64url");

  of(sequence: number): string {
    return `${this.#life}.${sequence}`;
  }

  sequenceOf(id: string | undefined): number | undefined {
    const [life, sequence = ""] = id?.split(".", 2) ?? [];
    return life === this.#life && /^\d{1,15}$/.test(sequence) ? Number(sequence) : undefined;
  }
}

/** Turns the entries of a job's log into events, each once. */
export class RequestEvents {
  readonly #ids: EventIds;
  readonly #toPreview: (event: JobPreview) => object;
  readonly #made = new WeakMap<Entry, RequestEvent>();

  /** @param toPreview What the request's dialect makes of a preview. */
  constructor(ids: EventIds, toPreview: (event: JobPreview) => object) {
    this.#ids = ids;
    this.#toPreview = toPreview;
  }

  /** Undefined for the end of the job: the request has ended when that is kept. */
  of(entry: Entry): RequestEvent | undefined {
    const made = this.#made.get(entry) ?? this.#make(entry);
    if (made !== undefined) this.#made.set(entry, made);
    return made;
  }

  #make({ sequence, event }: Entry): RequestEvent | undefined {
    const named = (name: RequestEventName, data: () => object): RequestEvent =>
      new RequestEvent(this.#ids.of(sequence), name, () => toAsciiJsonBytes(data()));
    switch (event.kind) {
      case "queued": {
        const { position, estimateMs } = event;
        return named("queued", () => ({ position, estimate: estimateMs === null ? null : estimateMs / 1_000 }));
      }
      case "started":
        return named("started", () => ({ total_steps: event.totalSteps }));
      case "progress": {
        const { step, totalSteps } = event;
        return named("progress", () => ({ step, total_steps: totalSteps, progress: (step + 1) / totalSteps }));
      }
      case "preview":
        return named("preview", () => this.#toPreview(event));
      default:
        return undefined;
    }
  }
}

export function finalEvent({ status, body }: RequestResponse): RequestEvent {
  return status < 400
    ? new RequestEvent(FINAL_EVENT_ID, "result", () => body)
    : new RequestEvent(FINAL_EVENT_ID, "error", () => withStatus(status, body));
}

/** @param body A JSON object with at least one field. */
function withStatus(status: number, body: Buffer): Buffer {
  return Buffer.concat([Buffer.from(`{"status":${status},`), body.subarray(1)]);
}

/** The server ends before the request does. Listeners have to reconnect to the next one. */
export class RequestPutOff extends Error {
  override readonly name = "RequestPutOff";
}
