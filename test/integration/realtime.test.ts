/** The realtime socket as it is on the wire: what it answers, whom it lets in, and how it ends. */
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { connect } from "node:net";
import { encode } from "@msgpack/msgpack";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { WebSocket } from "ws";
import { eventually } from "../support/eventually.ts";
import { contentOf, RealtimeClient } from "../support/realtime.ts";
import { startTestServer, type TestServer } from "../support/server.ts";
import { post } from "../support/sse.ts";

let server: TestServer;
beforeAll(async () => {
  server = await startTestServer({
    worker: "fixture_worker",
    env: { LATENTCAST_REALTIME_FRAME_LIMIT_BYTES: "1000000", LATENTCAST_REALTIME_MESSAGES_PER_SECOND: "500" },
  });
  await server.ready();
});
afterAll(() => server.close());

const ask = (request_id: string, fields: object = {}): object => ({
  prompt: "x",
  seed: 1,
  num_inference_steps: 2,
  request_id,
  ...fields,
});
const unfinished = (at: TestServer = server): number => at.jobs.snapshot().queue.unfinished;

describe("a realtime socket", () => {
  it.each([
    "/realtime",
    "/local/sdxl/realtime",
    "/local/sdxl",
    "/local/sdxl/sub/realtime",
    "/fal-ai/fast-lcm/own-path/",
  ])("is at %s", async (path) => {
    await using client = await RealtimeClient.open(server.url, { path });
    client.ask(ask("a"));
    const { isBinary, message } = await client.result("a");
    expect(isBinary).toBe(true);
    expect(message).toMatchObject({
      seed: 1,
      request_id: "a",
      images: [{ content_type: "image/jpeg", width: 64, height: 64 }],
      timings: { inference: expect.any(Number) },
    });
    expect(await client.close()).toBe(1_000);
  });

  it("gives the same image as a direct request, byte for byte", async () => {
    await using client = await RealtimeClient.open(server.url);
    const input = { prompt: "x", seed: 77, num_inference_steps: 2, output_format: "png" };
    client.ask({ ...input, request_id: "binary" });
    await client.result("binary");
    client.socket.send(JSON.stringify({ ...input, request_id: "text" }));
    const direct = (await (await post(`${server.url}/`, input)).json()) as { image: { url: string } };
    const expected = Buffer.from(direct.image.url.split(",")[1]!, "base64");
    for (const id of ["binary", "text"]) expect(contentOf(await client.result(id)).equals(expected)).toBe(true);
  });

  it("of a hundred inputs in a second draws a few, the last among them, and never has more than two jobs at work", async () => {
    await using client = await RealtimeClient.open(server.url);
    let most = 0;
    for (let count = 0; count < 100; count += 1) {
      client.ask(ask(String(count), { num_inference_steps: 20 }));
      await new Promise((resolve) => setTimeout(resolve, 10));
      most = Math.max(most, unfinished());
    }
    await client.result("99");
    const superseded = client.received.filter(({ message }) => message["action"] === "superseded");
    const results = client.received.filter(({ message }) => "images" in message);
    expect(most).toBeLessThanOrEqual(2);
    expect(superseded.length + results.length).toBe(100);
    expect(superseded.length).toBeGreaterThan(results.length);
  });

  it("in the mode cancel shows an image at least at every second run, however fast inputs come", async () => {
    await using client = await RealtimeClient.open(server.url);
    const before = server.jobs.snapshot().counters.cancelled;
    const results = (): number => client.received.filter(({ message }) => "images" in message).length;
    const over = new AbortController();
    const typing = (async () => {
      for (let count = 0; !over.signal.aborted; count += 1) {
        client.ask(ask(String(count), { num_inference_steps: 10, mode: "cancel" }));
        await new Promise((resolve) => setTimeout(resolve, 20));
      }
    })();
    await eventually(() => expect(results()).toBeGreaterThanOrEqual(3));
    over.abort();
    await typing;
    await eventually(() => expect(unfinished()).toBe(0));
    const cancelled = server.jobs.snapshot().counters.cancelled - before;
    expect(cancelled).toBeGreaterThan(0);
    expect(cancelled).toBeLessThanOrEqual(results() + 1);
  });

  it("starts from an image in a data URI, in bytes, and in a file of the server", async () => {
    await using client = await RealtimeClient.open(server.url);
    const answer = (await (await post(`${server.url}/`, { prompt: "x", output_format: "png" })).json()) as {
      image: { url: string };
    };
    const { image } = answer;
    client.ask(ask("uri", { image_url: image.url, strength: 0.5 }));
    expect((await client.result("uri")).message).toMatchObject({ seed: 1 });
    client.ask(ask("bytes", { image_bytes: Buffer.from(image.url.split(",")[1]!, "base64"), strength: 0.5 }));
    expect((await client.result("bytes")).message).toMatchObject({ seed: 1 });
    const kept = (await (await post(`${server.url}/`, { prompt: "x", sync_mode: false })).json()) as typeof answer;
    client.ask(ask("file", { image_url: kept.image.url, strength: 0.5 }));
    expect((await client.result("file")).message).toMatchObject({ seed: 1 });
  });

  it.each<[string, object]>([
    ["an address elsewhere", { image_url: "https://elsewhere.example/a.png" }],
    ["bytes that are no image", { image_bytes: randomBytes(100) }],
    ["a mask without an image", { mask_url: "data:image/png;base64,AAAA" }],
  ])("refuses %s by the field's name, and goes on", async (_name, fields) => {
    await using client = await RealtimeClient.open(server.url);
    client.ask(ask("wrong", fields));
    const { message } = await client.until((each) => each["request_id"] === "wrong");
    expect(message).toMatchObject({ error: "INVALID_INPUT", reason: expect.stringMatching(/^(image|mask)_url: /) });
    client.ask(ask("right"));
    await client.result("right");
  });
});

describe("frames that make no sense", () => {
  it.each<[string, () => unknown]>([
    ["an empty frame", () => Buffer.alloc(0)],
    ["two maps in one frame", () => Buffer.concat([encode({ prompt: "x" }), encode({ prompt: "y" })])],
    ["maps within maps", () => Buffer.alloc(900_000, 0x81)],
    ["random bytes", () => randomBytes(1_000)],
    ["a number", () => Buffer.from(encode(7))],
    ["text that is not JSON", () => "prompt: x"],
    ["JSON of a million values", () => `[${"{},".repeat(300_000)}{}]`],
    ["an extension", () => Buffer.from([0x81, 0xa6, ...Buffer.from("prompt"), 0xd4, 5, 0])],
  ])("%s is refused by a typed error, and the connection goes on", async (_name, frame) => {
    await using client = await RealtimeClient.open(server.url);
    client.socket.send(frame() as Buffer);
    const { isBinary, message } = await client.until(({ type }) => type === "x-fal-error");
    expect(isBinary).toBe(false);
    expect(message).toMatchObject({ error: expect.stringMatching(/^(INVALID_INPUT|BAD_REQUEST|PAYLOAD_TOO_LARGE)$/) });
    client.ask(ask("after"));
    await client.result("after");
  });

  it("hundreds of random frames each get an error, and the connection goes on", async () => {
    await using client = await RealtimeClient.open(server.url);
    const frames = fc.sample(fc.oneof(fc.uint8Array({ maxLength: 300 }), fc.json()), 300);
    for (const frame of frames) {
      client.socket.send(frame);
      await new Promise((resolve) => setTimeout(resolve, 3));
    }
    await eventually(() => expect(client.received).toHaveLength(frames.length));
    expect(new Set(client.received.map(({ isBinary, message }) => `${isBinary} ${String(message["type"])}`))).toEqual(
      new Set(["false x-fal-error"]),
    );
    client.ask(ask("after"));
    await client.result("after");
  });

  it("a frame above the limit closes the connection with 1009", async () => {
    await using client = await RealtimeClient.open(server.url);
    client.socket.send(Buffer.alloc(1_000_001));
    expect(await client.closed).toBe(1_009);
  });

  it("a thousand pings at once close it with 1008", async () => {
    await using client = await RealtimeClient.open(server.url);
    for (let count = 0; count < 1_000; count += 1) client.socket.ping();
    expect(await client.closed).toBe(1_008);
  });

  it("bytes that are no frames close it", async () => {
    await using client = await RealtimeClient.open(server.url);
    const { _socket: bare } = client.socket as unknown as { _socket: NodeJS.WritableStream };
    bare.write(Buffer.alloc(100, 0xff));
    expect([1_002, 1_006]).toContain(await client.closed);
    await eventually(() => expect(unfinished()).toBe(0));
  });
});

describe("the end of a connection", () => {
  it("of a client that leaves stops its work within a step", async () => {
    const before = server.jobs.snapshot().counters.cancelled;
    const client = await RealtimeClient.open(server.url);
    client.ask(ask("a", { num_inference_steps: 50 }));
    await eventually(() => expect(unfinished()).toBe(1));
    client.socket.terminate();
    await eventually(() => expect(server.jobs.snapshot()).toMatchObject({ queue: { unfinished: 0 } }));
    expect(server.jobs.snapshot().counters.cancelled).toBe(before + 1);
    await eventually(() => expect(server.jobs.snapshot().workers[0]!.jobs).toBe(0));
  });

  it("a close frame without a code is answered 1000", async () => {
    await using client = await RealtimeClient.open(server.url);
    client.socket.close();
    expect(await client.closed).toBe(1_000);
  });

  it("without inputs it is told so in text and closed with 1000", async () => {
    await using idle = await startTestServer({
      worker: "fixture_worker",
      env: { LATENTCAST_REALTIME_IDLE_SECONDS: "0.05" },
    });
    await idle.ready();
    await using client = await RealtimeClient.open(idle.url);
    expect(await client.closed).toBe(1_000);
    expect(client.received).toEqual([{ isBinary: false, message: expect.objectContaining({ error: "TIMEOUT" }) }]);
  });

  it("a server that drains finishes what runs, closes every socket with 1001, and ends", async () => {
    await using draining = await startTestServer({ worker: "fixture_worker" });
    await draining.ready();
    await using busy = await RealtimeClient.open(draining.url);
    await using idle = await RealtimeClient.open(draining.url);
    busy.ask(ask("a", { num_inference_steps: 20 }));
    await eventually(() => expect(unfinished(draining)).toBe(1));
    const drained = draining.drain();
    expect(await idle.closed).toBe(1_001);
    expect(await busy.closed).toBe(1_001);
    await busy.result("a");
    await drained;
  });

  it("a server that ends at once says so before it closes", async () => {
    await using ending = await startTestServer({ worker: "fixture_worker" });
    await ending.ready();
    await using client = await RealtimeClient.open(ending.url);
    client.ask(ask("a", { num_inference_steps: 50 }));
    await eventually(() => expect(unfinished(ending)).toBe(1));
    const ended = ending.close();
    expect(await client.closed).toBe(1_001);
    await ended;
    expect(client.received).toEqual([{ isBinary: false, message: expect.objectContaining({ error: "DRAINING" }) }]);
  });

  it("a worker that dies costs one input a second run with the same seed, and no connection", async () => {
    await using crashing = await startTestServer({ worker: "crash_mid_job" });
    await crashing.ready();
    await using client = await RealtimeClient.open(crashing.url);
    client.ask(ask("a", { prompt: "crash once", seed: 5, num_inference_steps: 6 }));
    expect((await client.result("a")).message).toMatchObject({ seed: 5 });
    expect(crashing.jobs.snapshot().counters.restarts).toBe(1);
    client.ask(ask("b", { prompt: "crash always", num_inference_steps: 6 }));
    const { message } = await client.until(({ request_id: id }) => id === "b");
    expect(message).toMatchObject({ error: "WORKER_CRASHED" });
    await crashing.ready();
    client.ask(ask("c"));
    await client.result("c");
  });
});

describe("a reader that stops reading", () => {
  it("holds up its own connection only, and finds the newest image when it goes on", async () => {
    await using slow = await RealtimeClient.open(server.url);
    await using other = await RealtimeClient.open(server.url);
    slow.socket.pause();
    for (let count = 0; count < 20; count += 1) {
      slow.ask(ask(`slow ${count}`));
      other.ask(ask(`other ${count}`));
      await other.result(`other ${count}`);
    }
    slow.socket.resume();
    expect((await slow.result("slow 19")).message).toMatchObject({ seed: 1 });
  });
});

describe("two hundred sockets", () => {
  it("are all served, and leave nothing behind", async () => {
    const clients = await Promise.all(Array.from({ length: 200 }, () => RealtimeClient.open(server.url)));
    for (const [index, client] of clients.entries())
      client.ask(ask(String(index), { num_inference_steps: 1, seed: index }));
    for (const [index, client] of clients.entries())
      expect((await client.result(String(index))).message).toMatchObject({ seed: index });
    expect(await Promise.all(clients.map((client) => client.close()))).toEqual(clients.map(() => 1_000));
    await eventually(async () => {
      const text = await (await fetch(`${server.url}/metrics`)).text();
      expect(text).toMatch(/^latentcast_realtime_clients 0$/m);
    });
  });
});

describe("who gets in", () => {
  const statusOf = async (url: string, headers: Record<string, string> = {}): Promise<string> => {
    const socket = new WebSocket(url.replace(/^http/, "ws"), { headers });
    const [error] = (await once(socket, "error")) as [Error];
    return error.message;
  };

  it.each<[string, string, Record<string, string>, number]>([
    ["a page of another origin", "/local/sdxl/realtime", { origin: "https://elsewhere.example" }, 403],
    ["a page that DNS led here", "/local/sdxl/realtime", { host: "rebound.example" }, 403],
    ["a name that is no model", "/v1/images/realtime", {}, 404],
    ["another path", "/health/socket", {}, 404],
    ["a buffer of none", "/local/sdxl/realtime?max_buffering=0", {}, 422],
    ["a buffer of 61", "/local/sdxl/realtime?max_buffering=61", {}, 422],
    ["a buffer that is not a number", "/local/sdxl/realtime?max_buffering=x", {}, 422],
  ])("%s does not", async (_name, path, headers, status) => {
    expect(await statusOf(`${server.url}${path}`, headers)).toContain(String(status));
  });

  it("a page of this server does", async () => {
    await using client = await RealtimeClient.open(server.url, { headers: { origin: server.url } });
    client.ask(ask("a"));
    expect((await client.result("a")).message).toMatchObject({ seed: 1 });
  });

  it("more connections than a key may have do not, until one closes", async () => {
    await using limited = await startTestServer({
      worker: "fixture_worker",
      env: { LATENTCAST_REALTIME_CONNECTIONS_PER_KEY: "2" },
    });
    await limited.ready();
    const first = await RealtimeClient.open(limited.url);
    await using _second = await RealtimeClient.open(limited.url);
    await expect(RealtimeClient.open(limited.url)).rejects.toThrow("429");
    await first.close();
    await eventually(async () => (await RealtimeClient.open(limited.url)).close());
  });

  it("a buffer keeps inputs in order", async () => {
    await using client = await RealtimeClient.open(server.url, { path: "/local/sdxl/realtime?max_buffering=3" });
    for (const id of ["a", "b", "c", "d", "e"]) client.ask(ask(id));
    await client.result("e");
    const results = client.received
      .filter(({ message }) => "images" in message)
      .map(({ message }) => message["request_id"]);
    expect(results.slice(-3)).toEqual(["c", "d", "e"]);
  });

  it("a plain GET of a model is answered as before", async () => {
    const answer = await fetch(`${server.url}/local/sdxl/realtime`);
    expect([answer.status, answer.headers.get("allow")]).toEqual([405, "POST"]);
  });

  it("a request that offers another protocol is answered like any other", async () => {
    const { hostname, port } = new URL(server.url);
    const socket = connect(Number(port), hostname);
    const body = JSON.stringify({ prompt: "x", num_inference_steps: 1 });
    const head = [
      "POST / HTTP/1.1",
      "host: localhost",
      "connection: Upgrade, HTTP2-Settings, close",
      "upgrade: h2c",
      "http2-settings: AAMAAABkAAQAAP__",
      "content-type: application/json",
      `content-length: ${body.length}`,
    ];
    socket.write(`${head.join("\r\n")}\r\n\r\n${body.slice(0, 5)}`);
    await new Promise((resolve) => setImmediate(resolve));
    socket.write(body.slice(5));
    let text = "";
    socket.on("data", (chunk: Buffer) => (text += chunk.toString("latin1")));
    await once(socket, "close");
    expect(text).toMatch(/^HTTP\/1\.1 200 OK/);
    expect(text).toContain('"image"');
  });
});
