/**
 * Rounds of mixed load in which a random part of a fleet is killed or frozen at a random moment. What happens in a round follows from its
 * seed, which is printed: LATENTCAST_TEST_SEED repeats it, LATENTCAST_TEST_ROUNDS asks for more than a few.
 */
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { eventually } from "../../support/eventually.ts";
import { FleetProcesses } from "../../support/fleet-processes.ts";
import type { Judge } from "../../support/judge.ts";
import { ONLY_LOOKS_FINISHED, runMixedLoad, type LoadResult } from "../../support/mixed-load.ts";
import { natsClusterForThisFile } from "../../support/nats-cluster.ts";
import { Random } from "../../support/random.ts";
import { startTestServer, type TestServer } from "../../support/server.ts";
import type { ServerProcess } from "../../support/server-process.ts";
import { post } from "../../support/sse.ts";

const ROUNDS = Number(process.env["LATENTCAST_TEST_ROUNDS"] ?? 4);
/** The first four kill and freeze something different each. */
const FIRST_SEED = Number(process.env["LATENTCAST_TEST_SEED"] ?? 5);
const PATIENCE_MS = 120_000;

const cluster = natsClusterForThisFile();
/** What everything is compared with. */
let alone: TestServer;
let fleet: FleetProcesses;
let judge: Judge;
const gateways: ServerProcess[] = [];
const nodes: ServerProcess[] = [];
let names = 0;

const gateway = (): Promise<ServerProcess> => fleet.gateway({ LATENTCAST_TEST_PACE: "quick" });
const node = (): Promise<ServerProcess> => {
  names += 1;
  return fleet.node(`node-${names}`, { LATENTCAST_WORKER_FIXTURE_STEP_SECONDS: "0.03" });
};

beforeAll(async () => {
  alone = await startTestServer({ worker: "fixture_worker", env: { LATENTCAST_WORKER_FIXTURE_STEP_SECONDS: "0" } });
  await alone.ready();
});
// One fleet for all rounds.
beforeEach(async () => {
  if (fleet !== undefined) return;
  fleet = await FleetProcesses.open(cluster());
  judge = await fleet.judge();
  const [first, second, ...rest] = await Promise.all([gateway(), gateway(), node(), node()]);
  gateways.push(first, second);
  nodes.push(...rest);
});
afterAll(async () => {
  await fleet?.[Symbol.asyncDispose]();
  await alone.close();
});

const input = (seed: number) => ({ prompt: "x", seed, output_format: "png", num_inference_steps: 20 });

async function reference(seed: number): Promise<string> {
  const { image } = (await (await post(alone.url, input(seed))).json()) as { image: { url: string } };
  return image.url;
}

interface Fault {
  readonly target: "node" | "gateway" | "NATS server";
  readonly how: "kill" | "freeze";
  readonly index: number;
  readonly atMs: number;
  /** How long it is away; what is killed is started again after it. */
  readonly forMs: number;
}

function draw(random: Random): Fault {
  const target = random.of(["node", "gateway", "NATS server"] as const);
  const how = random.of(["kill", "freeze"] as const);
  const index = Math.floor(random.next() * (target === "NATS server" ? 3 : 2));
  return { target, how, index, atMs: random.between(0, 2_500), forMs: random.between(500, 9_000) };
}

async function inflict({ target, how, index, atMs, forMs }: Fault): Promise<void> {
  await pause(atMs);
  if (target === "NATS server") {
    const server = cluster().server(index);
    if (how === "kill") await server.kill();
    else server.freeze();
    await pause(forMs);
    if (how === "kill") server.start();
    else server.thaw();
    return cluster().ready();
  }
  const [group, start] = target === "node" ? ([nodes, node] as const) : ([gateways, gateway] as const);
  const victim = group[index]!;
  if (how === "kill") {
    await victim.kill();
    group[index] = await start();
  } else {
    victim.signal("SIGSTOP");
    await pause(forMs);
    victim.signal("SIGCONT");
  }
}

const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

/** Every queued request ends once, on every gateway with the bytes of a single process; those that nobody knows the id of end too. */
async function queuedAreRight({ queued }: LoadResult, { target }: Fault): Promise<void> {
  await eventually(() => {
    for (const id of queued.keys()) expect(judge.knows(id)).toBe(true);
    expect(judge.verdict.unended).toEqual([]);
  }, PATIENCE_MS);
  expect(judge.verdict.endedTwice).toEqual([]);
  for (const [id, { seed, isCancelled }] of queued) {
    for (const { url } of gateways) {
      const response = await fetch(`${url}/requests/${id}`);
      const body = (await response.json()) as { image?: { url: string }; error_type?: string };
      if (isCancelled && body.error_type === "cancelled") continue;
      expect([response.status, body.image?.url], JSON.stringify(body).slice(0, 300)).toEqual([
        200,
        await reference(seed),
      ]);
    }
    // A request is drawn again where its node was lost, and nowhere else.
    if (target !== "node") expect(judge.verdict.attempts[id], id).toBeLessThanOrEqual(1);
  }
}

/** A stream that has an end has the right image; where its own gateway and the servers were well, it has an end. */
async function streamsAreRight({ streams }: LoadResult, { target, index }: Fault): Promise<void> {
  for (const { seed, gateway: at, image, reason } of streams) {
    if (image !== null) expect(image).toBe(await reference(seed));
    else expect(reason).not.toBe(ONLY_LOOKS_FINISHED);
    const wasWell = target === "node" || (target === "gateway" && index !== at);
    if (wasWell) expect(reason).toBe("");
  }
}

describe("a fleet under load, of which a random part is killed or frozen", { timeout: 300_000 }, () => {
  it.each(Array.from({ length: ROUNDS }, (_, round) => FIRST_SEED + round))(
    "loses nothing, ends nothing twice, and shows nothing that only looks finished: seed %i",
    async (seed) => {
      const random = new Random(seed);
      const fault = draw(random);
      process.stderr.write(`round with seed ${seed}: ${JSON.stringify(fault)}\n`);
      const load = runMixedLoad({
        ...{ random, input, queued: 6, streams: 4, cancels: 2, spreadMs: 3_000 },
        gateways: () => gateways.map(({ url }) => url),
        firstSeed: 1_000 * seed,
      });
      try {
        const [result] = await Promise.all([load, inflict(fault)]);
        await queuedAreRight(result, fault);
        await streamsAreRight(result, fault);
        expect(judge.verdict).toMatchObject({ unended: [], endedTwice: [] });
      } catch (error) {
        process.stderr.write(`${fleet.log.join("\n")}\n`);
        throw error;
      }
    },
  );
});
