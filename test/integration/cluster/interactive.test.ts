/** Direct requests over gateways and nodes that are processes, with three real NATS servers between them. */
import { beforeAll, afterAll, describe, expect, it } from "vitest";
import sharp from "sharp";
import { WebSocket } from "ws";
import { createClient } from "../../../src/client/index.ts";
import { eventually } from "../../support/eventually.ts";
import { FleetProcesses, healthOf } from "../../support/fleet-processes.ts";
import { natsClusterForThisFile } from "../../support/nats-cluster.ts";
import { startTestServer, type TestServer } from "../../support/server.ts";
import type { ServerProcess } from "../../support/server-process.ts";
import { resultOf, statusOf, submit } from "../../support/queue.ts";
import { post, postStream } from "../../support/sse.ts";

const cluster = natsClusterForThisFile();
/** What everything is compared with. */
let alone: TestServer;

beforeAll(async () => {
  alone = await startTestServer({ worker: "fixture_worker" });
  await alone.ready();
});

afterAll(() => alone.close());

const body = { prompt: "a lighthouse", seed: 7, num_images: 2, output_format: "png" };

/** The addresses of the images in a result; there is at least one, and each has its bytes in it. */
function addresses(result: unknown): string[] {
  const { image, images: several = [] } = result as { image?: { url: string }; images?: { url: string }[] };
  const urls = [...(image === undefined ? [] : [image]), ...several].map(({ url }) => url);
  expect(urls.length).toBeGreaterThan(0);
  for (const url of urls) expect(url).toMatch(/^data:image\/png;base64,.{100}/);
  return urls;
}

async function images(response: Response): Promise<string[]> {
  expect(response.status).toBe(200);
  return addresses(await response.json());
}

/** The address of an image that came over a realtime connection. */
async function drawLive(baseUrl: string): Promise<string[]> {
  using connection = createClient({ baseUrl, webSocket: WebSocket }).realtime();
  connection.send({ prompt: "x", seed: 3, output_format: "png" });
  for await (const event of connection) if (event.kind === "result") return addresses(event.result);
  throw new Error("the connection ended");
}

describe("a gateway", () => {
  it("answers with the bytes of a single process, over every door", async () => {
    await using fleet = await FleetProcesses.open(cluster());
    const gateway = await fleet.gateway();
    await fleet.node("one");
    await fleet.knows(gateway, 1);

    expect(await images(await post(gateway.url, body))).toEqual(await images(await post(alone.url, body)));

    const streams = await Promise.all([gateway.url, alone.url].map((url) => postStream(`${url}/stream`, body)));
    const [over, single] = streams.map(({ events }) => events);
    expect(addresses(over!.at(-1))).toEqual(addresses(single!.at(-1)));
    expect(over!.length).toBeGreaterThan(1);

    const asked = { prompt: "a lighthouse", n: 1, response_format: "b64_json", size: "64x64" };
    const openai = await post(`${gateway.url}/v1/images/generations`, asked);
    expect(openai.status).toBe(200);
    expect(await openai.json()).toMatchObject({ data: [{ b64_json: expect.any(String) }] });

    const drawn = await Promise.all([gateway.url, alone.url].map((url) => drawLive(url)));
    expect(drawn[0]).toEqual(drawn[1]);
  });

  it("serves an image that starts from another, byte for byte", async () => {
    await using fleet = await FleetProcesses.open(cluster());
    const gateway = await fleet.gateway();
    await fleet.node("one");
    await fleet.knows(gateway, 1);
    const [start] = await images(await post(alone.url, body));
    const edit = { prompt: "x", seed: 3, image_url: start, output_format: "png" };
    expect(await images(await post(gateway.url, edit))).toEqual(await images(await post(alone.url, edit)));
  });

  it("keeps the connection when the node of a request is killed, and sends the same image", async () => {
    await using fleet = await FleetProcesses.open(cluster());
    const gateway = await fleet.gateway();
    const nodes = new Map<string, ServerProcess>();
    // Slow enough to be found out and killed in the middle.
    const slow = { LATENTCAST_WORKER_FIXTURE_STEP_SECONDS: "0.25" };
    for (const name of ["one", "two"]) nodes.set(name, await fleet.node(name, slow));
    await fleet.knows(gateway, 2);
    const long = { ...body, num_images: 1, num_inference_steps: 24 };
    const stream = postStream(`${gateway.url}/stream`, long);
    const holder = await eventually(async () => {
      const { cluster: seen, queue } = await healthOf(gateway);
      const found = seen.nodes.find(({ jobs }) => jobs > 0);
      if (found === undefined || queue.waiting > 0) throw new Error("nobody has begun it");
      return found.name;
    });
    await nodes.get(holder)!.kill();
    const { events, broken, status } = await stream;
    expect([status, broken]).toEqual([200, undefined]);
    const single = await postStream(`${alone.url}/stream`, long);
    expect(addresses(events.at(-1))).toEqual(addresses(single.events.at(-1)));
  });
});

describe("a gateway of two pools", () => {
  const large = { ...body, num_images: 1, model: "large" };
  const LARGE = { LATENTCAST_POOL: "big", LATENTCAST_WORKER_FIXTURE_MODEL: "large" };

  it("has each request drawn by the pool whose model it names, on every door, and says when that is away", async () => {
    await using fleet = await FleetProcesses.open(cluster(), { pools: ["default", "big"] });
    const gateway = await fleet.gateway();
    const [, other] = await Promise.all([fleet.node("one"), fleet.node("two", LARGE)]);
    await fleet.knows(gateway, 2);

    // The usual model is the one that the process alone has.
    expect(await images(await post(gateway.url, body))).toEqual(await images(await post(alone.url, body)));
    expect(await images(await post(gateway.url, { ...body, model: "fixture" }))).toEqual(
      await images(await post(alone.url, body)),
    );
    const drawn = await images(await post(gateway.url, large));
    expect(await colourOf(drawn[0]!)).toEqual([7, 0, sumOf("large")]);
    const { events } = await postStream(`${gateway.url}/stream`, large);
    expect(addresses(events.at(-1))).toEqual(drawn);
    const queued = await resultOf(await submit(gateway.url, large));
    expect(addresses(await queued.json())).toEqual(drawn);
    const asked = { prompt: "x", n: 1, response_format: "b64_json", output_format: "png", size: "64x64" };
    const openai = await post(`${gateway.url}/v1/images/generations`, { ...asked, model: "large" });
    const { data } = (await openai.json()) as { data: { b64_json: string }[] };
    expect((await colourOf(data[0]!.b64_json)).at(-1)).toBe(sumOf("large"));
    const a1111 = { prompt: "x", steps: 2, override_settings: { sd_model_checkpoint: "large" } };
    const txt2img = (await (await post(`${gateway.url}/sdapi/v1/txt2img`, a1111)).json()) as { images: string[] };
    expect((await colourOf(txt2img.images[0]!)).at(-1)).toBe(sumOf("large"));

    const listed = (await (await fetch(`${gateway.url}/v1/models`)).json()) as { data: { id: string }[] };
    expect(listed.data.map(({ id }) => id)).toEqual(["fixture", "large"]);
    const unknown = await post(gateway.url, { ...body, model: "huge" });
    expect(unknown.status).toBe(422);
    expect((await resultOf(await submit(gateway.url, { ...body, model: "huge" }))).status).toBe(422);
    expect(await unknown.text()).toContain('there is \\"fixture\\", \\"large\\"');

    await other.kill();
    // A gateway that comes while nobody draws for the pool knows of it, too.
    const [later] = await Promise.all([fleet.gateway(), fleet.knows(gateway, 1)]);
    const away = await post(gateway.url, large);
    expect([away.status, away.headers.get("retry-after")]).toEqual([503, "10"]);
    const problem = "no node of pool big takes work";
    expect(await (await fetch(`${gateway.url}/health`)).json()).toMatchObject({
      status: "ready",
      models: [{ id: "fixture" }],
      unserved_models: [{ id: "large", problem }],
    });
    const waiting = await submit(gateway.url, large);
    expect(await statusOf(waiting)).toMatchObject({ status: "IN_QUEUE", queue_position: 0, reason: problem });
    await fleet.knows(later, 1);
    expect((await post(later.url, large)).status).toBe(503);
    expect(await images(await post(later.url, body))).toEqual(await images(await post(alone.url, body)));
    await fleet.node("three", LARGE);
    expect(addresses(await (await resultOf(waiting)).json())).toEqual(drawn);
  });
});

/** The fixture's blue, by the name of its model. */
const sumOf = (name: string): number => Buffer.from(name).reduce((sum, byte) => sum + byte, 0) % 128;

async function colourOf(image: string): Promise<number[]> {
  const bytes = Buffer.from(image.slice(image.indexOf(",") + 1), "base64");
  return [...(await sharp(bytes).removeAlpha().raw().toBuffer()).subarray(0, 3)];
}

describe("a node", () => {
  it("stops drawing for a gateway that was killed", async () => {
    await using fleet = await FleetProcesses.open(cluster());
    const gateway = await fleet.gateway();
    const node = await fleet.node("one", { LATENTCAST_WORKER_FIXTURE_STEP_SECONDS: "1" });
    await fleet.knows(gateway, 1);
    const lost = post(gateway.url, { ...body, num_inference_steps: 50 }).catch(() => undefined);
    await eventually(async () => expect((await healthOf(node)).workers).toMatchObject([{ jobs: 1 }]));
    await gateway.kill();
    await lost;
    await eventually(async () => expect((await healthOf(node)).workers).toMatchObject([{ jobs: 0 }]), 20_000);
  });

  it("that is told to end loses nothing: what it has begun it finishes, the rest is drawn elsewhere", async () => {
    await using fleet = await FleetProcesses.open(cluster());
    const gateway = await fleet.gateway();
    const leaving = await fleet.node("leaving", { LATENTCAST_WORKER_FIXTURE_STEP_SECONDS: "0.1" });
    await fleet.knows(gateway, 1);
    const answers = Array.from({ length: 12 }, (_, index) => post(gateway.url, { ...body, seed: index }));
    await eventually(async () => expect((await healthOf(leaving)).workers[0]!.jobs).toBeGreaterThan(0));
    await fleet.node("staying");
    await leaving.drain();
    const [made, expected] = await Promise.all([
      Promise.all((await Promise.all(answers)).map(images)),
      Promise.all(answers.map(async (_, index) => images(await post(alone.url, { ...body, seed: index })))),
    ]);
    expect(made).toEqual(expected);
  });
});

describe("both roles in one process", () => {
  it("serve and draw; two of them draw for each other", async () => {
    await using fleet = await FleetProcesses.open(cluster());
    const [one, two] = [
      await fleet.gateway({ LATENTCAST_ROLE: "all" }),
      await fleet.gateway({ LATENTCAST_ROLE: "all" }),
    ];
    await fleet.knows(one, 2);
    await fleet.knows(two, 2);
    expect(await images(await post(one.url, body))).toEqual(await images(await post(alone.url, body)));
    // Its own node goes with it; the other goes on.
    await one.drain();
    await fleet.knows(two, 1);
    expect(await images(await post(two.url, body))).toEqual(await images(await post(alone.url, body)));
  });
});
