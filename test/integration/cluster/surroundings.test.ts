/**
 * What a fleet's surroundings do to it: a gateway that is cut off, a clock that is wrong, files that are full, nodes that die with large
 * images. Two gateways, one of them behind a network that can be cut and an hour late, share three NATS servers.
 */
import { randomBytes } from "node:crypto";
import sharp from "sharp";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { startCuttableNetwork, type CuttableNetwork } from "../../support/cuttable-network.ts";
import { eventually } from "../../support/eventually.ts";
import { FleetProcesses, healthOf } from "../../support/fleet-processes.ts";
import { dataUri } from "../../support/images.ts";
import type { Judge } from "../../support/judge.ts";
import { natsClusterForThisFile } from "../../support/nats-cluster.ts";
import { submit } from "../../support/queue.ts";
import { startTestServer, type TestServer } from "../../support/server.ts";
import type { ServerProcess } from "../../support/server-process.ts";
import { post, postStream } from "../../support/sse.ts";

const HOUR_MS = 3_600_000;
const PATIENCE_MS = 120_000;
/** Twenty of these steps take two seconds: something can happen in the middle of them. */
const SLOW = { LATENTCAST_WORKER_FIXTURE_STEP_SECONDS: "0.1" };

const cluster = natsClusterForThisFile();
/** What everything is compared with. */
let alone: TestServer;
let fleet: FleetProcesses;
let judge: Judge;
let network: CuttableNetwork;
let gateway: ServerProcess;
/** It reaches NATS through the network that can be cut. */
let remote: ServerProcess;
const nodes: ServerProcess[] = [];

beforeAll(async () => {
  alone = await startTestServer({ worker: "fixture_worker", env: { LATENTCAST_WORKER_FIXTURE_STEP_SECONDS: "0" } });
  await alone.ready();
});
// One fleet for all: each test brings its nodes.
beforeEach(async () => {
  if (fleet !== undefined) return;
  fleet = await FleetProcesses.open(cluster(), { filesBytes: 4 * 2 ** 20 });
  judge = await fleet.judge();
  const [url = ""] = cluster().urls;
  network = await startCuttableNetwork(url);
  [gateway, remote] = await Promise.all([
    fleet.gateway(),
    fleet.gateway({
      LATENTCAST_NATS_URL: network.url.replace("http:", "nats:"),
      LATENTCAST_TEST_CLOCK_MS: String(-HOUR_MS),
    }),
  ]);
});
afterAll(async () => {
  await fleet?.[Symbol.asyncDispose]();
  network?.close();
  await alone.close();
});
afterEach(async ({ task }) => {
  if (task.result?.state === "fail") process.stderr.write(`${fleet.log.join("\n")}\n`);
  await Promise.all(nodes.splice(0).map((node) => node.kill()));
});

let names = 0;
async function startNode(env: Readonly<Record<string, string>> = {}): Promise<ServerProcess> {
  names += 1;
  const node = await fleet.node(`node-${names}`, env);
  nodes.push(node);
  return node;
}

const input = (seed: number, more: object = {}) => ({
  ...{ prompt: "x", seed, output_format: "png", num_inference_steps: 20 },
  ...more,
});

async function imageIn(response: Response): Promise<string> {
  const body = (await response.json()) as { image: { url: string } };
  expect(response.status, JSON.stringify(body).slice(0, 300)).toBe(200);
  return body.image.url;
}

const reference = async (body: object): Promise<string> => imageIn(await post(alone.url, body));

async function ended(id: string): Promise<void> {
  await eventually(() => {
    expect(judge.knows(id)).toBe(true);
    expect(judge.verdict.unended).toEqual([]);
  }, PATIENCE_MS);
  expect(judge.verdict.endedTwice).toEqual([]);
}

const resultAt = ({ url }: ServerProcess, id: string): Promise<Response> => fetch(`${url}/requests/${id}`);

const readiness = async ({ url }: ServerProcess): Promise<number> => (await fetch(`${url}/ready`)).status;

async function holds(node: ServerProcess, count: number): Promise<void> {
  await eventually(async () => {
    const { workers } = await healthOf(node);
    expect(workers.reduce((sum, { jobs }) => sum + jobs, 0)).toBeGreaterThanOrEqual(count);
  }, PATIENCE_MS);
}

describe("a gateway that is cut off from NATS", () => {
  it("finds nobody dead, loses nothing that it has accepted, and serves again when it is back", async () => {
    const node = await startNode(SLOW);
    await fleet.knows(remote, 1);
    const { request_id: id } = await submit(remote.url, input(1));
    const stream = postStream(`${remote.url}/stream`, input(2));
    await holds(node, 2);
    network.isDown = true;
    await eventually(async () => expect(await readiness(remote)).toBe(503), PATIENCE_MS);
    // The others do not notice.
    expect(await imageIn(await post(gateway.url, input(3)))).toBe(await reference(input(3)));
    await ended(id);
    expect(await imageIn(await resultAt(gateway, id))).toBe(await reference(input(1)));
    network.isDown = false;
    await eventually(async () => expect(await readiness(remote)).toBe(200), PATIENCE_MS);
    expect(await imageIn(await resultAt(remote, id))).toBe(await reference(input(1)));
    expect(judge.verdict.attempts[id]).toBe(1);
    // What nobody could tell it is drawn again, on the same connection.
    const { events, broken } = await stream;
    expect(broken).toBeUndefined();
    expect(events.at(-1)).toMatchObject({ image: { url: await reference(input(2)) } });
    expect((await healthOf(remote)).cluster.nodes.map(({ state }) => state)).toEqual(["ready"]);
  });
});

describe("a clock that is wrong", () => {
  it("an hour late on a gateway and an hour early on a node, changes nothing that waits, runs, is kept or uploaded", async () => {
    await startNode({ LATENTCAST_TEST_CLOCK_MS: String(HOUR_MS) });
    await fleet.knows(remote, 1);
    expect(await imageIn(await post(remote.url, input(4)))).toBe(await reference(input(4)));
    const { request_id: id } = await submit(remote.url, input(5, { sync_mode: false }));
    await ended(id);
    expect(judge.verdict.attempts[id]).toBe(1);
    for (const at of [gateway, remote]) {
      const url = new URL(await imageIn(await resultAt(at, id)));
      expect((await fetch(`${at.url}${url.pathname}`)).status).toBe(200);
    }
    const asked = { content_type: "image/png", file_name: "a.png" };
    const initiated = await post(`${remote.url}/rest/storage/upload/initiate`, asked);
    const address = new URL(((await initiated.json()) as { upload_url: string }).upload_url);
    const headers = { "content-type": "image/png" };
    const put = await fetch(`${gateway.url}${address.pathname}${address.search}`, {
      method: "PUT",
      headers,
      body: "x",
    });
    expect(put.status).toBe(200);
  });
});

describe("a node that is killed with large images to start from", () => {
  it("leaves them to another, for a queued request and for a direct one: the same bytes, and nothing is kept after", async () => {
    const noise = await sharp(randomBytes(1_600 * 1_600 * 3), { raw: { width: 1_600, height: 1_600, channels: 3 } })
      .png({ compressionLevel: 1 })
      .toBuffer();
    expect(noise.byteLength).toBeGreaterThan(6 * 2 ** 20);
    const edit = (seed: number) => input(seed, { image_url: dataUri(noise), width: 64, height: 64, strength: 1 });
    const first = await startNode(SLOW);
    await fleet.knows(gateway, 1);
    const { request_id: id } = await submit(gateway.url, edit(6));
    const direct = post(gateway.url, edit(7));
    await holds(first, 2);
    await first.kill();
    await startNode();
    expect(await imageIn(await direct)).toBe(await reference(edit(7)));
    await ended(id);
    expect(await imageIn(await resultAt(gateway, id))).toBe(await reference(edit(6)));
    const bus = await fleet.connect();
    await eventually(async () => expect((await bus.fill(fleet.layout.streams.inputs)).messages).toBe(0));
  });
});

describe("files that are full", () => {
  it("give way oldest first: its address is 404, its request is still known, and new ones are served", async () => {
    await startNode();
    await fleet.knows(gateway, 1);
    const draw = async (seed: number): Promise<{ readonly id: string; readonly path: string }> => {
      const { request_id: id } = await submit(gateway.url, input(seed, { sync_mode: false }));
      await ended(id);
      return { id, path: new URL(await imageIn(await resultAt(gateway, id))).pathname };
    };
    const oldest = await draw(8);
    expect((await fetch(`${gateway.url}${oldest.path}`)).status).toBe(200);
    const headers = { "content-type": "image/png" };
    for (let upload = 0; upload < 10; upload += 1) {
      const asked = { content_type: "image/png", file_name: "a.png" };
      const initiated = await post(`${gateway.url}/rest/storage/upload/initiate`, asked);
      const { upload_url: url } = (await initiated.json()) as { upload_url: string };
      expect((await fetch(url, { method: "PUT", headers, body: randomBytes(500_000) })).status).toBe(200);
    }
    // A gateway that has read it may show it a while longer.
    expect((await fetch(`${remote.url}${oldest.path}`)).status).toBe(404);
    expect((await resultAt(gateway, oldest.id)).status).toBe(200);
    const newest = await draw(9);
    const served = await fetch(`${gateway.url}${newest.path}`);
    const whole = await reference(input(9));
    expect(Buffer.from(await served.arrayBuffer()).toString("base64")).toBe(whole.slice(whole.indexOf(",") + 1));
  });
});
