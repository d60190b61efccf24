/** Direct requests over gateways and nodes that are processes, with three real NATS servers between them. */
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
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
let fleet: FleetProcesses;
let gateway: ServerProcess;
/** What a test has started beside the gateway. */
const started: ServerProcess[] = [];
let names = 0;

beforeAll(async () => {
  alone = await startTestServer({ worker: "fixture_worker", env: { LATENTCAST_WORKER_FIXTURE_STEP_SECONDS: "0" } });
  await alone.ready();
});
// One fleet for all: each test brings its nodes.
beforeEach(async () => {
  if (fleet !== undefined) return;
  fleet = await FleetProcesses.open(cluster(), { pools: ["default", "big"] });
  gateway = await fleet.gateway();
});
// In order, so that the next test does not count those that are away.
afterEach(() => Promise.all(started.splice(0).map((each) => each.drain())));
afterAll(async () => {
  await fleet?.[Symbol.asyncDispose]();
  await alone.close();
});

interface NodeOptions {
  readonly env?: Readonly<Record<string, string>>;
  readonly worker?: string;
}

async function startNode({ env, worker }: NodeOptions = {}): Promise<{ name: string; node: ServerProcess }> {
  names += 1;
  const name = `node-${names}`;
  const node = await fleet.node(name, env, worker);
  started.push(node);
  return { name, node };
}

async function startGateway(env?: Readonly<Record<string, string>>): Promise<ServerProcess> {
  const other = await fleet.gateway(env);
  started.push(other);
  return other;
}

/** Holds one job, and for some prompts until the test allows it to go on. */
const PAUSING = { worker: "pause_before_preview" };
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
  it("answers with the bytes of a single process, over every door, and also for an image that starts from another", async () => {
    await startNode();
    await fleet.knows(gateway, 1);

    const made = await images(await post(gateway.url, body));
    expect(made).toEqual(await images(await post(alone.url, body)));

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

    const edit = { prompt: "x", seed: 3, image_url: made[0], output_format: "png" };
    expect(await images(await post(gateway.url, edit))).toEqual(await images(await post(alone.url, edit)));
  });

  it("keeps the connection when the node of a request is killed, and sends the same image", async () => {
    const nodes = new Map<string, ServerProcess>();
    for (const { name, node } of await Promise.all([startNode(PAUSING), startNode(PAUSING)])) nodes.set(name, node);
    await fleet.knows(gateway, 2);
    const folder = await mkdtemp(join(tmpdir(), "latentcast-pause-"));
    const long = { ...body, prompt: `until ${join(folder, "go")}`, num_images: 1 };
    const stream = postStream(`${gateway.url}/stream`, long);
    const holder = await eventually(async () => {
      const { cluster: seen, queue } = await healthOf(gateway);
      const found = seen.nodes.find(({ jobs }) => jobs > 0);
      if (found === undefined || queue.waiting > 0) throw new Error("nobody has begun it");
      return found.name;
    });
    await nodes.get(holder)!.kill();
    await writeFile(join(folder, "go"), "");
    const { events, broken, status } = await stream;
    expect([status, broken]).toEqual([200, undefined]);
    const single = await postStream(`${alone.url}/stream`, long);
    expect(addresses(events.at(-1))).toEqual(addresses(single.events.at(-1)));
    await rm(folder, { recursive: true });
  });
});

describe("a gateway of two pools", () => {
  const large = { ...body, num_images: 1, model: "large" };
  const LARGE = { LATENTCAST_POOL: "big", LATENTCAST_WORKER_FIXTURE_MODEL: "large" };

  it("has each request drawn by the pool whose model it names, on every door, and says when that is away", async () => {
    const [, { node: other }] = await Promise.all([startNode(), startNode({ env: LARGE })]);
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
    const [later] = await Promise.all([startGateway(), fleet.knows(gateway, 1)]);
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
    await startNode({ env: LARGE });
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
    const [doomed, { node }] = await Promise.all([startGateway(), startNode(PAUSING)]);
    await fleet.knows(doomed, 1);
    const lost = postStream(`${doomed.url}/stream`, { ...body, prompt: "until never" }).catch(() => undefined);
    await eventually(async () => expect((await healthOf(node)).workers).toMatchObject([{ jobs: 1 }]));
    await doomed.kill();
    await lost;
    await eventually(async () => expect((await healthOf(node)).workers).toMatchObject([{ jobs: 0 }]));
  });

  it("that is told to end loses nothing: what it has begun it finishes, the rest is drawn elsewhere", async () => {
    const { node: leaving } = await startNode({ env: { LATENTCAST_WORKER_FIXTURE_STEP_SECONDS: "0.1" } });
    await fleet.knows(gateway, 1);
    const answers = Array.from({ length: 12 }, (_, index) => post(gateway.url, { ...body, seed: index }));
    await eventually(async () => expect((await healthOf(leaving)).workers[0]!.jobs).toBeGreaterThan(0));
    await startNode();
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
    const both = { LATENTCAST_ROLE: "all" };
    const [one, two] = await Promise.all([startGateway(both), startGateway(both)]);
    await fleet.knows(one, 2);
    await fleet.knows(two, 2);
    expect(await images(await post(one.url, body))).toEqual(await images(await post(alone.url, body)));
    // Its own node goes with it; the other goes on.
    await one.drain();
    await fleet.knows(two, 1);
    expect(await images(await post(two.url, body))).toEqual(await images(await post(alone.url, body)));
  });
});
