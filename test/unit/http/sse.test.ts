/** The writer on real sockets: what it sends, when it breaks off, and for whom. */
import { once } from "node:events";
import { get, type IncomingMessage } from "node:http";
import Fastify from "fastify";
import { describe, expect, it } from "vitest";
import { sendEvents, StreamFailure } from "../../../src/http/sse.ts";

async function read(
  frames: AsyncIterable<string>,
  times: { keepAliveMs?: number; stallMs?: number } = {},
): Promise<{ text: string; isComplete: boolean }> {
  const app = Fastify();
  app.get("/", (_request, reply) => sendEvents(reply, frames, times));
  const url = await app.listen({ host: "127.0.0.1", port: 0 });
  const response = await new Promise<IncomingMessage>((resolve) => get(url, { agent: false }, resolve));
  let text = "";
  response.on("data", (chunk: Buffer) => (text += chunk.toString()));
  response.on("error", () => undefined);
  await new Promise((resolve) => response.once("close", resolve));
  await app.close();
  return { text, isComplete: response.complete };
}

describe("sendEvents", () => {
  it("sends a comment at once, then the frames as they are, and ends cleanly", async () => {
    const frames = (async function* () {
      yield "data: 1\n\n";
      yield "data: 2\n\n";
    })();
    expect(await read(frames)).toEqual({ text: ": welcome\ndata: 1\n\ndata: 2\n\n", isComplete: true });
  });

  it("says something while nothing happens", async () => {
    const frames = (async function* () {
      await new Promise((resolve) => setTimeout(resolve, 100));
      yield "data: 1\n\n";
    })();
    const { text } = await read(frames, { keepAliveMs: 10 });
    expect(text).toMatch(/^: welcome\n(: ping\n)+data: 1\n\n$/);
  });

  it("breaks off after a failure, with everything before it delivered", async () => {
    const frames = (async function* () {
      yield "data: 1\n\n";
      throw new StreamFailure("told");
    })();
    const { text, isComplete } = await read(frames);
    expect(text).toContain("data: 1\n\n");
    expect(isComplete).toBe(false);
  });

  it("cuts off a reader that takes nothing any more, and ends the work for it", async () => {
    const app = Fastify();
    const ended: Promise<unknown>[] = [];
    app.get("/", (_request, reply) => {
      ended.push(once(reply.raw, "close"));
      const frames = (async function* () {
        // More than any socket holds.
        while (!reply.raw.destroyed) yield `data: ${"x".repeat(1_000_000)}\n\n`;
      })();
      return sendEvents(reply, frames, { stallMs: 50 });
    });
    const url = await app.listen({ host: "127.0.0.1", port: 0 });
    const response = await new Promise<IncomingMessage>((resolve) => get(url, { agent: false }, resolve));
    response.on("error", () => undefined);
    // Nobody reads it.
    response.pause();
    await ended[0];
    expect(response.complete).toBe(false);
    response.destroy();
    await app.close();
  });

  it("keeps a reader to whom nothing is said for long", async () => {
    const frames = (async function* () {
      await new Promise((resolve) => setTimeout(resolve, 1_200));
      yield "data: 1\n\n";
    })();
    // Far enough apart that a crowded machine does not miss all the pings between two checks.
    expect((await read(frames, { keepAliveMs: 20, stallMs: 600 })).isComplete).toBe(true);
  });
});
