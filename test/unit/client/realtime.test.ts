import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import {
  createClient,
  type RealtimeConnection,
  type RealtimeEvent,
  type WebSocketLike,
} from "../../../src/client/index.ts";

/** A socket whose other end is the test. */
class ScriptedSocket implements WebSocketLike {
  static opened: ScriptedSocket[] = [];
  readonly url: string;
  readonly sent: { readonly request_id: string; readonly prompt: string }[] = [];
  closedWith: number | undefined;
  readonly #listeners = new Map<string, ((event: object) => void)[]>();

  constructor(url: string) {
    this.url = url;
    ScriptedSocket.opened.push(this);
  }

  send(data: string): void {
    this.sent.push(JSON.parse(data) as ScriptedSocket["sent"][number]);
  }

  close(code?: number): void {
    this.closedWith = code;
  }

  addEventListener(type: string, listener: (event: object) => void): void {
    this.#listeners.set(type, [...(this.#listeners.get(type) ?? []), listener]);
  }

  emit(type: "open" | "message" | "close" | "error", event: object = {}): void {
    for (const listener of this.#listeners.get(type) ?? []) listener(event);
  }

  say(message: object): void {
    this.emit("message", { data: JSON.stringify(message) });
  }

  finish(requestId: string): void {
    const images = [{ url: "data:,", content_type: "image/jpeg", width: 8, height: 8 }];
    const timings = { queue: 0.001, inference: 0.2 };
    this.say({ images, seed: 1, prompt: "x", timings, warnings: [], request_id: requestId });
  }
}

beforeEach(() => {
  ScriptedSocket.opened = [];
  vi.useFakeTimers();
});
afterEach(() => {
  vi.useRealTimers();
});

function open(apiKey?: string): { connection: RealtimeConnection; events: RealtimeEvent[]; ended: Promise<unknown> } {
  const fetch = async (): Promise<Response> => new Response('"the.token"');
  const options = { baseUrl: "https://images.example/sub/", fetch, webSocket: ScriptedSocket };
  const connection = createClient(apiKey === undefined ? options : { ...options, apiKey }).realtime();
  const events: RealtimeEvent[] = [];
  const ended = (async () => {
    for await (const event of connection) events.push(event);
  })().catch((error: unknown) => error);
  return { connection, events, ended };
}

/** The newest socket, once there are so many. */
async function socket(count = 1): Promise<ScriptedSocket> {
  await vi.waitFor(() => expect(ScriptedSocket.opened).toHaveLength(count));
  return ScriptedSocket.opened.at(-1)!;
}

const kinds = (events: readonly RealtimeEvent[]): string[] =>
  events.map(({ kind, requestId }) => `${requestId} ${kind}`);

describe("a realtime connection of the client", () => {
  it("is opened with the first input, with a token where there is a key", async () => {
    const { connection } = open("secret");
    await vi.advanceTimersByTimeAsync(1_000);
    expect(ScriptedSocket.opened).toEqual([]);
    connection.send({ prompt: "x" });
    expect((await socket()).url).toBe("wss://images.example/sub/realtime?fal_jwt_token=the.token");
  });

  it("while it opens keeps the newest input, and says so of the others", async () => {
    const { connection, events } = open();
    const [a, b] = [connection.send({ prompt: "a" }), connection.send({ prompt: "b" })];
    const first = await socket();
    first.emit("open");
    expect(first.sent.map(({ prompt }) => prompt)).toEqual(["b"]);
    first.finish(b);
    await vi.waitFor(() => expect(kinds(events)).toEqual([`${a} superseded`, `${b} result`]));
  });

  it("that breaks is opened again, for the newest input without an answer", async () => {
    const { connection } = open();
    const done = connection.send({ prompt: "done" });
    const first = await socket();
    first.emit("open");
    first.finish(done);
    connection.send({ prompt: "running" });
    connection.send({ prompt: "waiting" });
    first.emit("close", { code: 1_006 });
    const second = await socket(2);
    second.emit("open");
    expect(second.sent.map(({ prompt }) => prompt)).toEqual(["waiting"]);
  });

  it("that is closed with nothing to draw is opened by the next input only", async () => {
    const { connection } = open();
    const done = connection.send({ prompt: "done" });
    const first = await socket();
    first.emit("open");
    first.finish(done);
    first.say({ type: "x-fal-error", error: "TIMEOUT", reason: "no inputs" });
    first.emit("close", { code: 1_000 });
    await vi.advanceTimersByTimeAsync(60_000);
    expect(ScriptedSocket.opened).toHaveLength(1);
    connection.send({ prompt: "next" });
    await socket(2);
  });

  it("that is refused its token asks for one more, then ends", async () => {
    const { connection, ended } = open("secret");
    connection.send({ prompt: "x" });
    for (const attempt of [1, 2]) {
      const refused = await socket(attempt);
      refused.emit("open");
      refused.say({ status: "error", error: "Unauthorized" });
      refused.emit("close", { code: 1_008 });
    }
    await expect(ended).resolves.toMatchObject({ code: "unauthorized" });
  });

  it("gives up an input that is too large, and goes on", async () => {
    const { connection, events } = open();
    const large = connection.send({ prompt: "x" });
    const first = await socket();
    first.emit("open");
    first.emit("close", { code: 1_009 });
    await vi.waitFor(() =>
      expect(events).toMatchObject([{ requestId: large, kind: "error", error: { code: "payload_too_large" } }]),
    );
    connection.send({ prompt: "y" });
    await socket(2);
  });

  it("to a server that cannot be reached ends after half a minute", async () => {
    const { connection, ended } = open();
    connection.send({ prompt: "x" });
    let opened = 0;
    const refusing = setInterval(() => {
      if (ScriptedSocket.opened.length > opened) ScriptedSocket.opened[opened++]!.emit("close", { code: 1_006 });
    }, 1);
    await vi.advanceTimersByTimeAsync(60_000);
    clearInterval(refusing);
    await expect(ended).resolves.toMatchObject({ code: "connection_failed" });
    expect(opened).toBeGreaterThan(5);
  });

  it("closes its socket with 1000, and takes no more inputs", async () => {
    const { connection, ended } = open();
    connection.send({ prompt: "x" });
    const first = await socket();
    first.emit("open");
    connection.close();
    expect(first.closedWith).toBe(1_000);
    expect(() => connection.send({ prompt: "y" })).toThrow(TypeError);
    await expect(ended).resolves.toBeUndefined();
  });

  it("to a reader that is slow gives the newest result, and every other word", async () => {
    const options = { baseUrl: "http://images.example", webSocket: ScriptedSocket };
    const connection = createClient(options).realtime();
    const ids: string[] = [];
    for (const prompt of ["a", "b", "c"]) {
      ids.push(connection.send({ prompt }));
      const only = await socket();
      if (prompt === "a") only.emit("open");
      only.finish(ids.at(-1)!);
    }
    connection.close();
    const events: RealtimeEvent[] = [];
    for await (const event of connection) events.push(event);
    expect(kinds(events)).toEqual([`${ids[2]} result`]);
  });
});
