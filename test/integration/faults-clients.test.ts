/** Clients that behave badly, and a clock that jumps: everybody else gets what they asked for. */
import { once } from "node:events";
import { connect, type Socket } from "node:net";
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from "vitest";
import { eventually } from "../support/eventually.ts";
import { startTestServer, type TestServer } from "../support/server.ts";
import { post, postStream } from "../support/sse.ts";

const CROWD = 500;

let server: TestServer;
beforeAll(async () => {
  server = await startTestServer({
    worker: "fixture_worker",
    env: { LATENTCAST_QUEUE_LIMIT: "1000", LATENTCAST_WORKER_FIXTURE_STEP_SECONDS: "0.001" },
  });
  await server.ready();
});
afterAll(() => server.close());
afterEach(() => {
  vi.useRealTimers();
});

async function open(): Promise<Socket> {
  const { hostname, port } = new URL(server.url);
  const socket = connect(Number(port), hostname);
  socket.on("error", () => undefined);
  await once(socket, "connect");
  return socket;
}

function request(socket: Socket, body: object): void {
  const json = JSON.stringify(body);
  socket.write(
    `POST /stream HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-type: application/json\r\ncontent-length: ${json.length}\r\n\r\n${json}`,
  );
}

describe(`${CROWD} clients that connect`, () => {
  it("and send nothing do not keep others from an image", async () => {
    const sockets = await Promise.all(Array.from({ length: CROWD }, open));
    expect((await post(server.url, { prompt: "x", seed: 1 })).status).toBe(200);
    expect((await fetch(`${server.url}/ready`)).status).toBe(200);
    for (const socket of sockets) socket.destroy();
  });

  it("and never read their streams get their jobs done, hold no worker, and are forgotten when they leave", async () => {
    const before = { ...server.jobs.snapshot().counters };
    const sockets = await Promise.all(Array.from({ length: CROWD }, open));
    for (const socket of sockets) {
      socket.pause();
      request(socket, { prompt: "x", num_inference_steps: 4, preview: { every: 1 } });
    }
    const since = (name: "accepted" | "succeeded"): number => server.jobs.snapshot().counters[name] - before[name];
    await eventually(() => expect(since("accepted")).toBe(CROWD), 60_000);
    const reader = await postStream(`${server.url}/stream`, { prompt: "x", seed: 7 });
    expect(reader.events.at(-1)).toMatchObject({ seed: 7, image: {} });
    await eventually(() => expect(since("succeeded")).toBe(CROWD + 1), 60_000);
    expect(server.jobs.snapshot().queue.unfinished).toBe(0);
    for (const socket of sockets) socket.destroy();
    await eventually(async () => {
      expect(await (await fetch(`${server.url}/metrics`)).text()).toContain("latentcast_sse_clients 0");
    });
  });
});

describe("a client that reads a byte at a time", () => {
  it("delays nobody, and still gets its whole result last", async () => {
    const socket = await open();
    socket.pause();
    request(socket, {
      prompt: "slow",
      num_inference_steps: 50,
      preview: { every: 1 },
      width: 512,
      height: 512,
      output_format: "png",
    });
    let raw = "";
    for (let byte = 0; byte < 100; byte += 1) {
      await eventually(() => {
        const chunk: Buffer | null = socket.read(1);
        if (chunk === null) throw new Error("nothing there yet");
        raw += chunk.toString("latin1");
      });
    }
    expect((await post(server.url, { prompt: "quick" })).status).toBe(200);
    socket.setEncoding("latin1");
    socket.on("data", (chunk: string) => (raw += chunk));
    socket.resume();
    await once(socket, "close");
    const last = raw.split("data: ").at(-1) ?? "";
    const payload = last.slice(0, last.indexOf("\n\n")).replaceAll(/\r\n[0-9a-f]+\r\n/g, "");
    expect(JSON.parse(payload)).toMatchObject({ prompt: "slow", image: { content_type: "image/png", width: 512 } });
  });
});

describe("a clock that jumps", () => {
  it.each([
    ["a day ahead", 86_400_000],
    ["a day back", -86_400_000],
  ])("%s in the middle of a picture changes nothing about it, nor about the worker", async (_name, jumpMs) => {
    const { restarts } = server.jobs.snapshot().counters;
    const stream = postStream(`${server.url}/stream`, { prompt: "x", num_inference_steps: 50, preview: { every: 1 } });
    await eventually(() => expect(server.jobs.snapshot().workers[0]!.jobs).toBe(1));
    vi.useFakeTimers({ toFake: ["Date"], now: Date.now() + jumpMs });
    const { events, broken } = await stream;
    expect(broken).toBeUndefined();
    const { timings } = events.at(-1) as { timings: { queue: number; inference: number } };
    expect(timings.queue).toBeGreaterThanOrEqual(0);
    expect(timings.inference).toBeGreaterThan(0);
    expect(timings.inference).toBeLessThan(3_600);
    expect((await fetch(`${server.url}/ready`)).status).toBe(200);
    expect((await post(server.url, { prompt: "after" })).status).toBe(200);
    expect(server.jobs.snapshot().counters.restarts).toBe(restarts);
  });
});
