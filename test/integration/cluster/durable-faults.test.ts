/**
 * What becomes of queued requests when parts of a fleet die, freeze or lose what they had. Gateways, nodes and three NATS servers are
 * processes. The judge reads what is committed: each request ends once, and its image has the bytes of a single process.
 */
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { eventually } from "../../support/eventually.ts";
import { FleetProcesses, healthOf } from "../../support/fleet-processes.ts";
import type { Judge } from "../../support/judge.ts";
import { natsClusterForThisFile } from "../../support/nats-cluster.ts";
import { readEvents, submit, type NamedEvent } from "../../support/queue.ts";
import { startTestServer, type TestServer } from "../../support/server.ts";
import type { ServerProcess } from "../../support/server-process.ts";
import { post } from "../../support/sse.ts";

const cluster = natsClusterForThisFile();
/** What everything is compared with. */
let alone: TestServer;
let fleet: FleetProcesses;
let judge: Judge;
let [a, b]: ServerProcess[] = [];
const nodes: ServerProcess[] = [];

beforeAll(async () => {
  alone = await startTestServer({ worker: "fixture_worker", env: { LATENTCAST_WORKER_FIXTURE_STEP_SECONDS: "0" } });
  await alone.ready();
});
// One fleet for all: each test brings its nodes.
beforeEach(async () => {
  if (fleet !== undefined) return;
  fleet = await FleetProcesses.open(cluster());
  judge = await fleet.judge();
  [a, b] = await Promise.all([fleet.gateway(HASTE), fleet.gateway(HASTE)]);
});
afterAll(async () => {
  await fleet?.[Symbol.asyncDispose]();
  await alone.close();
});

afterEach(async ({ task }) => {
  if (task.result?.state === "fail") process.stderr.write(`${fleet.log.join("\n")}\n`);
  await Promise.all(nodes.map((node) => node.kill()));
});

const PATIENCE_MS = 120_000;
/** Gateways look after lost requests every second or two, not every half minute. */
const HASTE = { LATENTCAST_TEST_PACE: "quick" };
/** Twenty of these steps take two seconds: something can happen in the middle of them. */
const SLOW = { LATENTCAST_WORKER_FIXTURE_STEP_SECONDS: "0.1" };
const SLOWER = { LATENTCAST_WORKER_FIXTURE_STEP_SECONDS: "0.2" };
const FAIR = { LATENTCAST_WORKER_FIXTURE_STEP_SECONDS: "0.05" };
const FAST = { LATENTCAST_WORKER_FIXTURE_STEP_SECONDS: "0.01" };
const inputOf = (seed: number) => ({ prompt: "x", seed, output_format: "png", num_inference_steps: 20 });
let seeds = 100;
let names = 0;

/** A node that takes work, and whether it is known. */
async function startNode(env: Readonly<Record<string, string>> = SLOW): Promise<ServerProcess> {
  names += 1;
  const node = await fleet.node(`node-${names}`, env);
  nodes.push(node);
  return node;
}

/** Ids by seed, accepted by both gateways in turn. */
async function submitSome(count: number, extras: object = {}): Promise<Map<string, number>> {
  const made = new Map<string, number>();
  for (let index = 0; index < count; index += 1) {
    seeds += 1;
    const { url } = index % 2 === 0 ? a! : b!;
    const { request_id: id } = await submit(url, { ...inputOf(seeds), ...extras });
    made.set(id, seeds);
  }
  return made;
}

const references = new Map<number, Promise<string>>();
const reference = (seed: number): Promise<string> => {
  const known = references.get(seed) ?? post(alone.url, inputOf(seed)).then(imageIn);
  references.set(seed, known);
  return known;
};

async function imageIn(response: Response): Promise<string> {
  const body = (await response.json()) as { image: { url: string } };
  expect(response.status, JSON.stringify(body).slice(0, 300)).toBe(200);
  return body.image.url;
}

/** Every request ends once, with its own image, on every gateway that is asked. */
async function allEndRight(requests: ReadonlyMap<string, number>, gateways = [a!, b!]): Promise<void> {
  await eventually(() => {
    for (const id of requests.keys()) expect(judge.knows(id)).toBe(true);
    expect(judge.verdict.unended).toEqual([]);
  }, PATIENCE_MS);
  for (const [id, seed] of requests)
    for (const { url } of gateways)
      expect(await imageIn(await fetch(`${url}/requests/${id}`))).toBe(await reference(seed));
  expect(judge.verdict.endedTwice).toEqual([]);
}

const eventsOf = (
  { url }: ServerProcess,
  id: string,
  lastEventId?: string,
  isEnough: (event: NamedEvent) => boolean = () => false,
) => readEvents(`${url}/requests/${id}/events`, { ...(lastEventId === undefined ? {} : { lastEventId }), isEnough });

const isStep = (step: number) => (event: NamedEvent) => event.name === "progress" && event.data["step"] === step;
const steps = (events: readonly NamedEvent[]): unknown[] =>
  events.filter(({ name }) => name === "progress").map(({ data }) => data["step"]);
const upTo = (count: number): number[] => Array.from({ length: count }, (_, step) => step);
const attempts = (requests: ReadonlyMap<string, number>): number[] =>
  [...requests.keys()].map((id) => judge.verdict.attempts[id] ?? 0);

async function holds(node: ServerProcess, count: number): Promise<void> {
  await eventually(async () => {
    const { workers } = await healthOf(node);
    expect(workers.reduce((sum, { jobs }) => sum + jobs, 0)).toBeGreaterThanOrEqual(count);
  }, PATIENCE_MS);
}

describe("a node", () => {
  it(
    "that is killed loses nothing: another one draws its requests, and their listeners hear both",
    { timeout: 240_000 },
    async () => {
      const first = await startNode();
      const requests = await submitSome(4);
      const [id] = requests.keys();
      await holds(first, 2);
      const heard = eventsOf(b!, id!);
      await eventsOf(a!, id!, undefined, isStep(3));
      await first.kill();
      const second = await startNode(FAIR);
      await allEndRight(requests);
      const { events } = await heard;
      expect(events.at(-1)).toMatchObject({ name: "result", id: "end" });
      expect(events.filter(({ name }) => name === "started")).toHaveLength(2);
      expect(steps(events).slice(-20)).toEqual(upTo(20));
      expect(attempts(requests)[0]).toBe(2);
      await second.drain();
    },
  );

  it(
    "that is frozen finds its certificate when it wakes up, ends nothing twice, and takes work again",
    { timeout: 240_000 },
    async () => {
      const [first, second] = await Promise.all([startNode(FAIR), startNode(FAIR)]);
      const requests = await submitSome(6);
      await holds(first, 1);
      await holds(second, 1);
      first.signal("SIGSTOP");
      await allEndRight(requests);
      first.signal("SIGCONT");
      await eventually(() => expect(first.log.join("\n")).toContain("was found dead"), PATIENCE_MS);
      await second.drain();
      const more = await submitSome(2);
      await allEndRight(more);
      await first.drain();
    },
  );

  it(
    "that drains finishes what it has begun and hands back the rest; no attempt counts, nothing fails",
    { timeout: 240_000 },
    async () => {
      const first = await startNode(FAIR);
      const requests = await submitSome(12);
      await holds(first, 1);
      const second = await startNode(FAST);
      await first.drain();
      await allEndRight(requests);
      expect(attempts(requests)).toEqual(Array(12).fill(1));
      await second.drain();
    },
  );
});

describe("a gateway", () => {
  it(
    "that is killed is no loss: listeners go on at another one, after the last event that they read",
    { timeout: 240_000 },
    async () => {
      // Far from its end when its listeners leave, on a crowded machine too.
      const [node, doomed] = await Promise.all([startNode(SLOWER), fleet.gateway()]);
      const requests = await submitSome(1);
      const [id] = requests.keys();
      const before = await Promise.all([3, 3, 4, 5].map((step) => eventsOf(doomed, id!, undefined, isStep(step))));
      await doomed.kill();
      const after = await Promise.all(before.map(({ events }) => eventsOf(b!, id!, events.at(-1)!.id)));
      for (const [index, { events }] of after.entries()) {
        const heard = [...steps(before[index]!.events), ...steps(events)];
        // One that comes late begins with how things stand; from there it misses nothing.
        expect(heard).toEqual(upTo(20).slice(Number(heard[0])));
        expect(events.at(-1)).toMatchObject({ name: "result" });
      }
      await allEndRight(requests);
      expect(attempts(requests)).toEqual([1]);
      await node.drain();
    },
  );
});

describe("a cancellation", () => {
  it("by another gateway holds, whether the request waits or runs, and both say so", { timeout: 240_000 }, async () => {
    const node = await startNode();
    const [running] = (await submitSome(1)).keys();
    await eventsOf(a!, running!, undefined, isStep(2));
    expect((await fetch(`${b!.url}/requests/${running}/cancel`, { method: "PUT" })).status).toBe(202);
    await eventually(async () => {
      const { workers } = await healthOf(node);
      expect(workers.reduce((sum, { jobs }) => sum + jobs, 0)).toBe(0);
    }, PATIENCE_MS);
    await node.drain();
    const [waiting] = (await submitSome(1)).keys();
    expect((await fetch(`${b!.url}/requests/${waiting}/cancel`, { method: "PUT" })).status).toBe(200);
    for (const id of [running, waiting]) {
      for (const { url } of [a!, b!]) {
        const status = await eventually(async () => {
          const body = await (await fetch(`${url}/requests/${id}/status`)).json();
          expect(body.status).toBe("COMPLETED");
          return body;
        });
        expect(status).toMatchObject({ error_type: "cancelled" });
      }
    }
    expect(judge.verdict.endedTwice).toEqual([]);
  });
});

describe("the NATS servers", () => {
  it(
    "that lead are killed or frozen one after the other: nothing is lost, nothing ends twice, and nothing is drawn twice",
    { timeout: 400_000 },
    async () => {
      const node = await startNode(FAIR);
      const requests = new Map<string, number>();
      const { streams } = fleet.layout;
      for (const [stream, fault] of [
        [streams.state, "kill"],
        [streams.tickets, "freeze"],
        [streams.state, "freeze"],
      ] as const) {
        for (const [id, seed] of await submitSome(2)) requests.set(id, seed);
        const leader = await cluster().leader(stream);
        if (fault === "kill") await leader.kill();
        else leader.freeze();
        try {
          // Accepted by the others' election, at the latest.
          for (const [id, seed] of await submitSome(2)) requests.set(id, seed);
        } finally {
          if (fault === "kill") leader.start();
          else leader.thaw();
        }
        await cluster().ready();
      }
      await allEndRight(requests);
      expect(attempts(requests)).toEqual(Array(12).fill(1));
      await node.drain();
    },
  );

  it(
    "that are all killed and come back: what was accepted ends once, though every ticket is gone",
    { timeout: 400_000 },
    async () => {
      const requests = await submitSome(4);
      await Promise.all(cluster().servers.map((server) => server.kill()));
      const refused = await post(`${a!.url}/queue/local/sdxl`, inputOf(1));
      expect([refused.status, refused.headers.get("retry-after")]).toEqual([503, expect.any(String)]);
      for (const server of cluster().servers) server.start();
      await cluster().ready();
      const node = await startNode(FAST);
      await allEndRight(requests);
      await node.drain();
    },
  );
});

describe("tickets", () => {
  it("that are lost are made again, and those that come twice are drawn once", { timeout: 400_000 }, async () => {
    const bus = await fleet.connect();
    const { streams } = fleet.layout;
    const requests = await submitSome(4);
    const [twice] = requests.keys();
    const ticket = (id: string) => bus.get(streams.tickets, fleet.layout.ticket("default", "n", id));
    // They follow the answers.
    for (const id of requests.keys()) await eventually(async () => expect(await ticket(id)).toBeDefined());
    const stored = await ticket(twice!);
    await bus.put(streams.tickets, stored!.subject, stored!.header as Record<string, unknown>, Buffer.alloc(0), {
      id: "again",
    });
    for (const lost of [...requests.keys()].slice(2))
      await bus.purge(streams.tickets, fleet.layout.ticket("default", "n", lost));
    const node = await startNode(FAST);
    await allEndRight(requests);
    expect(attempts(requests)).toEqual([1, 1, 1, 1]);
    await bus.close();
    await node.drain();
  });
});
