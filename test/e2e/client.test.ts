/** Our own client against real servers: what it does when the network and the server misbehave. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { createClient, type LatentcastClient } from "../../src/client/index.ts";
import { type CuttableNetwork, startCuttableNetwork } from "../support/cuttable-network.ts";
import { eventually } from "../support/eventually.ts";
import { startTestServer, type TestServer } from "../support/server.ts";

let server: TestServer;
let network: CuttableNetwork;
let client: LatentcastClient;
beforeAll(async () => {
  server = await startTestServer({ worker: "pause_before_preview" });
  await server.ready();
  network = await startCuttableNetwork(server.url);
  client = createClient({ baseUrl: network.url });
});
afterAll(async () => {
  network.close();
  await server.close();
});

describe("a stream", () => {
  it("brings every kind of event and the result that generate gives", async () => {
    const stream = client.stream({ prompt: "x", seed: 5, num_inference_steps: 50 });
    const kinds = new Set<string>();
    for await (const event of stream) kinds.add(event.kind);
    expect([...kinds]).toEqual(expect.arrayContaining(["progress", "preview"]));
    const streamed = await stream.result();
    const generated = await client.generate({ prompt: "x", seed: 5, num_inference_steps: 50 });
    expect(streamed).toMatchObject({ seed: 5, prompt: "x", warnings: [] });
    expect({ ...generated, requestId: "", timings: null, image: null, images: null }).toEqual({
      ...streamed,
      requestId: "",
      timings: null,
      image: null,
      images: null,
    });
  });

  it("goes on to the same result when the network is cut at every preview", async () => {
    const stream = client.stream({ prompt: "x", seed: 6, num_inference_steps: 40, preview: { every: 10 } });
    const steps: number[] = [];
    for await (const event of stream) {
      if (event.kind !== "preview") continue;
      steps.push(event.step);
      network.cut();
    }
    expect((await stream.result()).seed).toBe(6);
    expect(steps).toEqual([...new Set(steps)].toSorted((a, b) => a - b));
    expect(server.jobs.snapshot().counters.failed).toBe(0);
  });

  it("stops the server's work when its loop is left", async () => {
    const before = server.devices().cancelled;
    for await (const event of client.stream({ prompt: "until never" })) if (event.kind === "progress") break;
    await eventually(() => expect(server.devices()).toMatchObject({ cancelled: before + 1, held: 0 }));
  });

  it("rejects an input that is wrong with the names of the fields", async () => {
    await expect(client.generate({ prompt: "", width: 65 })).rejects.toMatchObject({
      code: "invalid_request",
      status: 422,
      fields: [{ loc: ["body", "prompt"] }, { loc: ["body", "width"] }],
    });
  });
});

describe("the queue", () => {
  it("finds a request again later by its id", async () => {
    const { requestId } = await client.submit({ prompt: "x", seed: 9 });
    for await (const event of client.events(requestId)) if (event.kind === "preview") break;
    const result = await client.events(requestId).result();
    expect(result).toMatchObject({ seed: 9, requestId });
    expect(await client.status(requestId)).toMatchObject({ kind: "finished", errorCode: null });
    expect((await client.result(requestId)).image.url).toBe(result.image.url);
    expect(await client.cancel(requestId)).toBe("finished");
  });

  it("says so when a request is not there or has no result yet", async () => {
    const { requestId } = await client.submit({ prompt: "until never" });
    await expect(client.result(requestId)).rejects.toMatchObject({ code: "bad_request", status: 400 });
    expect(await client.cancel(requestId)).toMatch(/^(cancelled|requested)$/);
    await expect(client.events(requestId).result()).rejects.toMatchObject({ code: "cancelled" });
    await expect(client.status(crypto.randomUUID())).rejects.toMatchObject({ code: "not_found", status: 404 });
  });

  it("returns what GET /health does", async () => {
    expect(await client.health()).toMatchObject({ status: expect.any(String), model: { id: "fixture" } });
  });
});
