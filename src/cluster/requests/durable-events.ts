/** What a node tells listeners of one durable request: each event of its job as it happens, and on request what they missed. */
import type { Entry } from "../../jobs/event-log.ts";
import type { LiveRequest } from "../../requests/live-request.ts";
import type { Bus } from "../bus.ts";
import type { JobPreview } from "../../jobs/events.ts";
import { isControl, toStepEvent, type DurableEvent, type FeedAnswer } from "./durable-wire.ts";
import { cutImages } from "../image-parts.ts";
import type { Layout } from "../layout.ts";
import { WIRE_VERSION } from "../wire.ts";

export interface DurableEventsOptions {
  readonly bus: Bus;
  readonly layout: Layout;
  readonly live: LiveRequest;
  /** The revision of the claim. */
  readonly run: number;
  /** Bytes of an image that go into one message. */
  readonly partBytes: number;
}

export class DurableEvents {
  readonly #options: DurableEventsOptions;
  #n = 0;
  #c = 0;

  constructor(options: DurableEventsOptions) {
    this.#options = options;
  }

  get run(): number {
    return this.#options.run;
  }

  /** What happened to the job. */
  tell({ sequence, event }: Entry): void {
    this.#n = sequence;
    if (isControl(event)) this.#c += 1;
    const step = toStepEvent({ sequence, event });
    if (step !== undefined) this.#publish(step);
    if (event.kind !== "preview") return;
    for (const { part, bytes } of cutImages(event.images, this.#options.partBytes))
      this.#publish({ kind: "preview", step: event.step, total_steps: event.totalSteps, part }, bytes);
  }

  /** The record says how it ended, or that somebody else is to run it. */
  tellOver(): void {
    this.#n += 1;
    this.#publish({ kind: "over" });
  }

  /** @param after The last place that the asker has of this run; 0 for all of it. */
  since(after: number): { readonly answer: FeedAnswer; readonly payload: Buffer } {
    const { live, run, partBytes } = this.#options;
    let c = 0;
    const counted = live.job.entriesAfter(0).map(({ sequence, event }) => {
      if (isControl(event)) c += 1;
      return { n: sequence, c, event };
    });
    const missed = counted.filter(({ n }) => n > after);
    const entries = missed.flatMap(({ n, c: control, event }) => {
      const step = toStepEvent({ sequence: n, event });
      return step === undefined ? [] : [{ n, c: control, event: step }];
    });
    const previews = missed.flatMap(({ event, ...place }) => (event.kind === "preview" ? [{ ...place, event }] : []));
    const newest = previews.at(-1);
    const answer = { run, entries, preview: newest === undefined ? null : described(newest), logs: [...live.logs] };
    return { answer, payload: newest === undefined ? Buffer.alloc(0) : sliceOf(newest.event, 0, partBytes) };
  }

  /** More bytes of a preview that {@link since} told of; none when a newer one has taken its place. */
  rest({ n, from }: { readonly n: number; readonly from: number }): Buffer {
    const { live, partBytes } = this.#options;
    const event = live.job.entriesAfter(0).find(({ sequence }) => sequence === n)?.event;
    return event?.kind === "preview" ? sliceOf(event, from, partBytes) : Buffer.alloc(0);
  }

  #publish(event: DurableEvent["event"], payload?: Buffer): void {
    const { bus, layout, live, run } = this.#options;
    const { id } = live.request;
    const header: DurableEvent = { v: WIRE_VERSION, id, run, n: this.#n, c: this.#c, event };
    bus.publish(layout.events(id), header, payload);
  }
}

interface Place {
  readonly n: number;
  readonly c: number;
}

function described({ n, c, event }: Place & { readonly event: JobPreview }): FeedAnswer["preview"] {
  const whole = cutImages(event.images, Math.max(1, bytesOf(event)));
  return {
    n,
    c,
    event: { step: event.step, total_steps: event.totalSteps },
    images: whole.map(({ part, bytes }) => ({ ...part, bytes: bytes.byteLength })),
  };
}

/** Of the images one after the other. */
function sliceOf({ images }: JobPreview, from: number, length: number): Buffer {
  return Buffer.concat(images.map(({ bytes }) => bytes)).subarray(from, from + length);
}

function bytesOf({ images }: JobPreview): number {
  return images.reduce((sum, { bytes }) => sum + bytes.byteLength, 0);
}
