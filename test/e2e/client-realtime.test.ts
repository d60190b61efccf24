/** Our own client on realtime sockets of real servers. */
import sharp from "sharp";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { WebSocket } from "ws";
import { createClient, LatentcastError, type RealtimeConnection, type RealtimeEvent } from "../../src/client/index.ts";
import { type CuttableNetwork, startCuttableNetwork } from "../support/cuttable-network.ts";
import { eventually } from "../support/eventually.ts";
import { startTestServer, type TestServer } from "../support/server.ts";

let server: TestServer;
let network: CuttableNetwork;
beforeAll(async () => {
  server = await startTestServer({
    worker: "fixture_worker",
    env: { LATENTCAST_API_KEYS: "secret", LATENTCAST_REALTIME_FRAME_LIMIT_BYTES: "100000" },
  });
  await server.ready();
  network = await startCuttableNetwork(server.url);
});
afterAll(async () => {
  network.close();
  await server.close();
});

function open(options: Parameters<ReturnType<typeof createClient>["realtime"]>[0] = {}, apiKey = "secret") {
  return createClient({ baseUrl: network.url, apiKey, webSocket: WebSocket }).realtime(options);
}

/** Reads in the background and keeps everything. */
function reading(connection: RealtimeConnection) {
  const events: RealtimeEvent[] = [];
  const ended = (async () => {
    for await (const event of connection) events.push(event);
  })();
  ended.catch(() => undefined);
  const about = (id: string, kind: RealtimeEvent["kind"]): Promise<RealtimeEvent> =>
    eventually(() => {
      const found = events.find((event) => event.requestId === id && event.kind === kind);
      expect(found).toBeDefined();
      return found!;
    });
  return { events, ended, about };
}

const input = { prompt: "x", seed: 3, num_inference_steps: 4 };

describe("client.realtime", () => {
  it("draws input after input, with previews where they are asked for", async () => {
    using connection = open();
    const { about } = reading(connection);
    const first = connection.send(input);
    expect(await about(first, "result")).toMatchObject({
      result: { seed: 3, prompt: "x", image: { width: 64, url: expect.stringMatching(/^data:image\/jpeg/) } },
    });
    const second = connection.send({ ...input, seed: 4, preview: { every: 1 } });
    expect(await about(second, "preview")).toMatchObject({ totalSteps: 4, image: { width: 16 } });
    expect(await about(second, "result")).toMatchObject({ result: { seed: 4 } });
  });

  it("of many inputs draws the last, and names those that it did not draw", async () => {
    using connection = open();
    const { events, about } = reading(connection);
    const ids = Array.from({ length: 30 }, () => connection.send(input));
    await about(ids.at(-1)!, "result");
    const kinds = new Map(events.map((event) => [event.requestId, event.kind]));
    expect(ids.map((id) => kinds.get(id))).not.toContain(undefined);
    expect(events.filter(({ kind }) => kind === "superseded").length).toBeGreaterThan(20);
  });

  it("in the mode cancel does not wait for what runs", async () => {
    using connection = open({ mode: "cancel" });
    const { about } = reading(connection);
    const before = server.jobs.snapshot().counters.cancelled;
    const slow = connection.send({ ...input, num_inference_steps: 50 });
    await eventually(() => expect(server.jobs.snapshot().queue.unfinished).toBe(1));
    const fast = connection.send(input);
    await about(slow, "superseded");
    await about(fast, "result");
    expect(server.jobs.snapshot().counters.cancelled).toBe(before + 1);
  });

  it("takes files", async () => {
    using connection = open();
    const { about } = reading(connection);
    const png = await sharp({ create: { width: 64, height: 64, channels: 3, background: "red" } })
      .png()
      .toBuffer();
    const id = connection.send({ ...input, image_url: new Blob([png]), strength: 0.5 });
    expect(await about(id, "result")).toMatchObject({ result: { seed: 3 } });
  });

  it("tells what is wrong with an input, and goes on", async () => {
    using connection = open();
    const { about } = reading(connection);
    const wrong = connection.send({ ...input, num_inference_steps: 99 });
    const event = await about(wrong, "error");
    expect(event).toMatchObject({
      error: { code: "invalid_request", fields: [{ loc: ["body", "num_inference_steps"] }] },
    });
    const large = connection.send({ ...input, image_url: `data:image/png;base64,${"A".repeat(200_000)}` });
    expect(await about(large, "error")).toMatchObject({ error: { code: "payload_too_large" } });
    await about(connection.send(input), "result");
  });

  it("opens a broken connection again, and has what was not answered drawn", async () => {
    using connection = open();
    const { about } = reading(connection);
    const id = connection.send({ ...input, num_inference_steps: 50 });
    await eventually(() => expect(server.jobs.snapshot().queue.unfinished).toBe(1));
    network.cut();
    expect(await about(id, "result")).toMatchObject({ result: { seed: 3 } });
  });

  it("that was closed while idle is opened by the next input", async () => {
    using connection = open();
    const { about } = reading(connection);
    await about(connection.send(input), "result");
    network.cut();
    await eventually(() => expect(network.openEnds).toBe(0));
    await about(connection.send(input), "result");
  });

  it("stops its work when it is closed, and when its loop is left", async () => {
    for (const leave of ["close", "break"]) {
      const connection = open();
      connection.send({ ...input, num_inference_steps: 50, preview: { every: 1 } });
      for await (const _event of connection) {
        if (leave === "break") break;
        connection.close();
      }
      await eventually(() => expect(server.jobs.snapshot().queue.unfinished).toBe(0));
      expect(() => connection.send(input)).toThrow(TypeError);
    }
  });

  it("ends with the code cancelled when its signal fires", async () => {
    const stop = new AbortController();
    const { ended } = reading(open({ signal: stop.signal }));
    stop.abort();
    await expect(ended).rejects.toMatchObject({ code: "cancelled" });
  });

  it("without a key that is known ends with the code unauthorized", async () => {
    const connection = open({}, "wrong");
    const { ended } = reading(connection);
    connection.send(input);
    await expect(ended).rejects.toBeInstanceOf(LatentcastError);
    await expect(ended).rejects.toMatchObject({ code: "unauthorized" });
  });

  it("says so where there is no WebSocket", () => {
    // Node 20 has none; newer versions do.
    const { WebSocket: own } = globalThis;
    Reflect.deleteProperty(globalThis, "WebSocket");
    try {
      expect(() => createClient({ baseUrl: server.url }).realtime()).toThrow("webSocket");
    } finally {
      if (own !== undefined) globalThis.WebSocket = own;
    }
  });
});
