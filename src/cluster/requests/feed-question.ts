/** Asks the node that holds a request what has happened so far. */
import type { JobEvent } from "../../jobs/events.ts";
import type { LogLine } from "../../schema/queue.ts";
import type { Bus, BusMessage } from "../bus.ts";
import { feedAnswer, toJobEvent, type FeedAnswer } from "./durable-wire.ts";
import { ownerOf } from "../storage/fleet-requests.ts";
import type { Layout } from "../layout.ts";
import { WIRE_VERSION } from "../wire.ts";

/** What a node is asked at {@link Layout.toNode}. */
export const FEED = "feed";

export interface Backlog {
  readonly run: number;
  /** In order. */
  readonly entries: readonly { readonly n: number; readonly c: number; readonly event: JobEvent }[];
  readonly logs: readonly LogLine[];
}

type Preview = NonNullable<FeedAnswer["preview"]>;

const TIMEOUT_MS = 2_000;

/** Undefined when the holder does not answer, or does not hold the request. */
export async function askFeed(
  bus: Bus,
  layout: Layout,
  holder: string,
  { id, run, after }: { readonly id: string; readonly run: number; readonly after: number },
): Promise<Backlog | undefined> {
  const owner = ownerOf(holder);
  if (owner === undefined) return undefined;
  const ask = async (more: object): Promise<BusMessage | undefined> => {
    const question = { v: WIRE_VERSION, id, run, after, ...more };
    // Dead, cut off or on its way: whoever asks looks again.
    return bus.request(layout.toNode(owner.node, FEED), question, { timeoutMs: TIMEOUT_MS }).catch(() => undefined);
  };
  const message = await ask({});
  const parsed = feedAnswer.safeParse(message?.header);
  if (message === undefined || !parsed.success || parsed.data.run === null) return undefined;
  const { run: told, entries, preview, logs } = parsed.data;
  const steps = entries.map(({ n, c, event }) => ({ n, c, event: toJobEvent(event) }));
  const bytes =
    preview === null
      ? undefined
      : await allOf(preview, message.payload, (from) => ask({ run: told, rest: { n: preview.n, from } }));
  const all = preview === null || bytes === undefined ? steps : [...steps, toPreview(preview, bytes)];
  return { run: told, entries: all.toSorted((a, b) => a.n - b.n), logs };
}

/** The bytes of a preview, piece by piece. Undefined when a newer one has taken its place meanwhile: that comes by itself. */
async function allOf(
  { images }: Preview,
  first: Buffer,
  ask: (from: number) => Promise<BusMessage | undefined>,
): Promise<Buffer | undefined> {
  const total = images.reduce((sum, { bytes }) => sum + bytes, 0);
  let read = first;
  while (read.byteLength < total) {
    const piece = (await ask(read.byteLength))?.payload;
    if (piece === undefined || piece.byteLength === 0) return undefined;
    read = Buffer.concat([read, piece]);
  }
  return read;
}

function toPreview(
  { n, c, event, images }: Preview,
  payload: Buffer,
): { readonly n: number; readonly c: number; readonly event: JobEvent } {
  let offset = 0;
  const encoded = images.map(({ bytes, content_type: contentType, width, height, seed }) => {
    const from = offset;
    offset += bytes;
    return { bytes: payload.subarray(from, offset), contentType, width, height, seed };
  });
  return { n, c, event: { kind: "preview", step: event.step, totalSteps: event.total_steps, images: encoded } };
}
