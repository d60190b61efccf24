/**
 * What clients of a fleet do at the same time: direct streams, queued requests, cancellations. Each of them behaves as a good client does:
 * it goes to another gateway when one does not answer, and believes only what it has read to the end.
 */
import { eventually } from "./eventually.ts";
import { submit } from "./queue.ts";
import type { Random } from "./random.ts";
import { postStream } from "./sse.ts";

export interface StreamEnd {
  readonly seed: number;
  readonly gateway: number;
  /** The image's address; null when the stream said that it failed, or broke off, or was refused. */
  readonly image: string | null;
  /** Why there is no image. */
  readonly reason: string;
}

export interface LoadResult {
  /** Seeds of queued requests by id, and whether somebody cancelled it. */
  readonly queued: ReadonlyMap<string, { readonly seed: number; readonly isCancelled: boolean }>;
  readonly streams: readonly StreamEnd[];
}

export interface LoadOptions {
  readonly random: Random;
  readonly input: (seed: number) => object;
  /** Addresses of the gateways as they are now, those in their place that were started again included. */
  readonly gateways: () => readonly string[];
  readonly firstSeed: number;
  readonly queued: number;
  readonly streams: number;
  readonly cancels: number;
  /** Over which it begins. */
  readonly spreadMs: number;
}

/** An answer that is worth waiting for comes in this time from any gateway that lives. */
const ANSWER_MS = 15_000;
const PATIENCE_MS = 90_000;

/** Resolves when every stream has ended and every queued request was accepted. */
export async function runMixedLoad(options: LoadOptions): Promise<LoadResult> {
  const { random, firstSeed, spreadMs } = options;
  const queued = new Map<string, { seed: number; isCancelled: boolean }>();
  const later = (): Promise<void> => {
    const waitMs = random.between(0, spreadMs);
    return new Promise((resolve) => setTimeout(resolve, waitMs));
  };
  const requests = Array.from({ length: options.queued }, async (_, index) => {
    const seed = firstSeed + index;
    await later();
    const id = await enqueue(options, index, seed);
    queued.set(id, { seed, isCancelled: false });
    if (index >= options.cancels) return;
    await later();
    queued.set(id, { seed, isCancelled: true });
    await cancel(options, index + 1, id);
  });
  const streams = Array.from({ length: options.streams }, async (_, index) => {
    await later();
    return stream(options, index, firstSeed + options.queued + index);
  });
  const ends = await Promise.all(streams);
  await Promise.all(requests);
  return { queued, streams: ends };
}

/** Of all gateways in turn, until one says something. */
async function insisting<Value>(
  { gateways }: Pick<LoadOptions, "gateways">,
  first: number,
  ask: (url: string) => Promise<Value>,
): Promise<Value> {
  let turn = first;
  return eventually(() => {
    const urls = gateways();
    turn += 1;
    return ask(urls[turn % urls.length]!);
  }, PATIENCE_MS);
}

async function enqueue(options: LoadOptions, first: number, seed: number): Promise<string> {
  const { request_id: id } = await insisting(options, first, (url) => submit(url, options.input(seed)));
  return id;
}

async function cancel(options: LoadOptions, first: number, id: string): Promise<void> {
  await insisting(options, first, async (url) => {
    const response = await fetch(`${url}/requests/${id}/cancel`, {
      method: "PUT",
      signal: AbortSignal.timeout(ANSWER_MS),
    });
    if (response.status >= 500) throw new Error(`cancel answered ${response.status}`);
  });
}

async function stream({ gateways, input }: LoadOptions, index: number, seed: number): Promise<StreamEnd> {
  const urls = gateways();
  const gateway = index % urls.length;
  const without = (reason: string): StreamEnd => ({ seed, gateway, image: null, reason });
  try {
    const { status, events, broken } = await postStream(`${urls[gateway]!}/stream`, input(seed));
    if (status !== 200) return without(`refused with ${status}`);
    const last = events.at(-1) ?? {};
    if (broken !== undefined) return without(`broke off after ${JSON.stringify(last).slice(0, 200)}`);
    const { image } = last as { image?: { url: string } };
    // fal's clients take the last event of a clean stream for the result.
    return image === undefined ? without(ONLY_LOOKS_FINISHED) : { seed, gateway, image: image.url, reason: "" };
  } catch (error) {
    return without(`not connected: ${String(error)}`);
  }
}

export const ONLY_LOOKS_FINISHED = "ended cleanly and has no result";
