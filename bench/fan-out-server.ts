/**
 * One image's events to many subscribers, two ways: `/ours` through a job's event log and the server's own SSE writer, `/raw` by writing
 * one shared buffer to every response. Both publish as soon as everybody who reads has got the event before.
 */
import { createServer, type ServerResponse } from "node:http";
import fastify from "fastify";
import { sendEvents } from "../src/http/sse.ts";
import { encodeEvents } from "../src/http/encode-events.ts";
import { EventLog, type Entry } from "../src/jobs/event-log.ts";
import { finalEvent, ProcessEventIds, RequestEvents, type RequestEvent } from "../src/requests/request-events.ts";
import { inlineImage } from "../src/storage/published-images.ts";

/** Subscribers that do not read say so; nobody waits for them. */
const STALLED = "stalled";
/** Of a preview's JPEG: about a 512-px image. */
const JPEG_BYTES = 18_750;
const RUN_MS = Number(process.env["LATENTCAST_BENCH_FAN_OUT_MS"] ?? "3000");
const SUBSCRIBERS = Number(process.env["LATENTCAST_BENCH_SUBSCRIBERS"] ?? "100");

const app = fastify({ forceCloseConnections: true });
let peakRssBytes = 0;
setInterval(() => {
  peakRssBytes = Math.max(peakRssBytes, process.memoryUsage.rss());
}, 50).unref();

interface Ours {
  readonly log: EventLog;
  readonly events: RequestEvents;
  joined: number;
  taken: number;
}

function newOurs(): Ours {
  const events = new RequestEvents(new ProcessEventIds(), ({ images, step }) => ({
    images: images.map(inlineImage),
    step,
  }));
  return { log: new EventLog(), events, joined: 0, taken: 0 };
}
let ours = newOurs();

app.get("/ours", (request, reply) => {
  const state = ours;
  const gone = new AbortController();
  reply.raw.once("close", () => gone.abort());
  const isStalled = request.headers["x-reader"] === STALLED;
  state.joined += 1;
  async function* counted(): AsyncGenerator<Buffer, void, undefined> {
    const entries = state.log.follow({ signal: gone.signal });
    for await (const frame of encodeEvents(named(state.events, entries))) {
      yield frame;
      // Asked for the next: this one has been handed to the socket.
      if (!isStalled && frame.length > JPEG_BYTES) state.taken += 1;
    }
  }
  if (state.joined === SUBSCRIBERS) setTimeout(() => void publishOurs(state), 200);
  return sendEvents(reply, counted());
});

async function* named(
  events: RequestEvents,
  entries: AsyncIterable<Entry>,
): AsyncGenerator<RequestEvent, void, undefined> {
  for await (const entry of entries) {
    const event = events.of(entry);
    if (event !== undefined) yield event;
  }
  yield finalEvent({ status: 200, headers: {}, body: Buffer.from('{"done":true}') });
}

async function publishOurs(state: Ours): Promise<void> {
  const endsAt = performance.now() + RUN_MS;
  for (let step = 0; performance.now() < endsAt; step += 1) {
    const bytes = Buffer.alloc(JPEG_BYTES, step);
    const images = [{ bytes, contentType: "image/jpeg", width: 512, height: 512, seed: 0 }];
    state.log.append({ kind: "progress", step, totalSteps: 50 });
    state.log.append({ kind: "preview", step, totalSteps: 50, images });
    while (state.taken < (step + 1) * (SUBSCRIBERS - 1)) await turn();
  }
  state.log.append({ kind: "cancelled", reason: "shutdown" });
  ours = newOurs();
}

let raw: { response: ServerResponse; isStalled: boolean }[] = [];
const rawServer = createServer((request, response) => {
  response.writeHead(200, { "content-type": "text/event-stream" });
  response.write(": welcome\n\n");
  raw.push({ response, isStalled: request.headers["x-reader"] === STALLED });
  if (raw.length === SUBSCRIBERS) {
    const subscribers = raw;
    raw = [];
    setTimeout(() => void publishRaw(subscribers), 200);
  }
});

async function publishRaw(subscribers: readonly { response: ServerResponse; isStalled: boolean }[]): Promise<void> {
  const endsAt = performance.now() + RUN_MS;
  for (let step = 0; performance.now() < endsAt; step += 1) {
    const jpeg = Buffer.alloc(JPEG_BYTES, step);
    const preview = JSON.stringify({ image: { url: `data:image/jpeg;base64,${jpeg.toString("base64")}` }, step });
    const frames = [
      Buffer.from(`id: ${step}\nevent: progress\ndata: {"step":${step},"total_steps":50}\n\n`),
      Buffer.from(`id: ${step}\nevent: preview\ndata: ${preview}\n\n`),
    ];
    for (const { response, isStalled } of subscribers) {
      if (isStalled && response.writableNeedDrain) continue;
      for (const frame of frames) response.write(frame);
    }
    while (subscribers.some(({ response, isStalled }) => !isStalled && response.writableNeedDrain)) await turn();
  }
  for (const { response } of subscribers) response.end("event: result\ndata: {}\n\n");
}

function turn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

const url = await app.listen({ host: "127.0.0.1", port: 0 });
await new Promise<void>((resolve) => rawServer.listen(0, "127.0.0.1", resolve));
const address = rawServer.address();
const rawUrl = `http://127.0.0.1:${typeof address === "object" && address !== null ? address.port : 0}`;

process.on("message", () => {
  const { user, system } = process.cpuUsage();
  process.send?.({
    rssBytes: process.memoryUsage.rss(),
    cpuMs: (user + system) / 1_000,
    inFlight: 0,
    peakRssBytes,
    rawUrl,
  });
  peakRssBytes = 0;
});
process.on("disconnect", () => process.exit(0));
process.send?.({ url });
