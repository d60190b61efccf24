/** Closing on real sockets: what answers under way look like to those who get them. */
import { once } from "node:events";
import { connect } from "node:net";
import Fastify from "fastify";
import { describe, expect, it } from "vitest";
import { trackShutdown } from "../../../src/http/shutdown.ts";
import { sendEvents } from "../../../src/http/sse.ts";

interface Ending {
  readonly text: string;
  readonly wasReset: boolean;
}

/** A server that is closed with this patience while its only answer, which takes for ever or as long as `release`, is being sent. */
async function closedDuringStream(version: string, patienceMs: number, release?: Promise<void>): Promise<Ending> {
  const app = Fastify();
  const shutdown = trackShutdown(app);
  const never = new Promise<void>(() => undefined);
  app.get("/", (_request, reply) => {
    const frames = (async function* () {
      yield "data: 1\n\n";
      await (release ?? never);
    })();
    return sendEvents(reply, frames);
  });
  const { port, hostname } = new URL(await app.listen({ host: "127.0.0.1", port: 0 }));
  const socket = connect(Number(port), hostname);
  let text = "";
  let wasReset = false;
  socket.on("error", () => (wasReset = true));
  const begun = new Promise<void>((resolve) => {
    socket.on("data", (chunk: Buffer) => {
      text += chunk.toString();
      if (text.includes("data: 1")) resolve();
    });
  });
  socket.write(`GET / HTTP/${version}\r\nhost: localhost\r\n\r\n`);
  await begun;
  const gone = once(socket, "close").catch(() => undefined);
  await shutdown.close(patienceMs);
  await gone;
  return { text, wasReset };
}

describe("a server that closes", () => {
  it("resets what it cuts off over HTTP/1.0, where a mere end would look complete", async () => {
    expect((await closedDuringStream("1.0", 10)).wasReset).toBe(true);
  });

  it("never sends the last chunk of what it cuts off over HTTP/1.1", async () => {
    expect((await closedDuringStream("1.1", 10)).text).not.toMatch(/0\r\n\r\n$/);
  });

  it("lets an answer end that ends in time", async () => {
    const { text } = await closedDuringStream("1.1", 60_000, new Promise((resolve) => setTimeout(resolve, 50)));
    expect(text).toMatch(/\r\n0\r\n\r\n$/);
  });
});
