/** Several pools behind one gateway, in memory: which pool draws what, and what is said of one that draws nothing. Time is vitest's. */
import { describe, expect, it } from "vitest";
import type { LatentcastError } from "../../../src/errors.ts";
import { generateInput } from "../../../src/schema/input.ts";
import { endOf, eventually, MemoryFleet, type MemoryGateway, type MemoryNode } from "../../support/memory-fleet.ts";
import { useMovingTime } from "../../support/moving-time.ts";

useMovingTime();

const SMALL = { model: { id: "small" } };
const LARGE = {
  pool: "big",
  model: { id: "large", native_width: 512, native_height: 512, max_side: 1_024, default_steps: 30 },
};

const knows = ({ jobs }: MemoryGateway, ...names: string[]): Promise<void> =>
  eventually(() => expect(jobs.models.map(({ id }) => id)).toEqual(names));

/** Draws what a node gets, until it was so many jobs; resolves with their ids. */
async function drawn({ worker }: MemoryNode, count: number): Promise<string[]> {
  const done = new Set<string>();
  await eventually(() => {
    for (const id of worker.jobs) {
      if (done.has(id)) continue;
      worker.start(id);
      worker.finish(id);
      done.add(id);
    }
    expect(done.size).toBe(count);
  });
  return [...done].toSorted();
}

/** What `submit` throws. */
function refusal(submit: () => unknown): LatentcastError {
  try {
    submit();
  } catch (error) {
    return error as LatentcastError;
  }
  throw new Error("it was accepted");
}

describe("a request", () => {
  it("is drawn by the pool whose model it names, and by the gateway's own when it names none", async () => {
    await using fleet = new MemoryFleet();
    const [small, large] = [await fleet.node("small", SMALL), await fleet.node("large", LARGE)];
    const [one, two] = [fleet.gateway("one"), fleet.gateway("two", { pool: "big" })];
    await knows(one, "small", "large");
    await knows(two, "large", "small");
    const plain = generateInput.parse({ prompt: "x" });
    expect([one, two].map(({ jobs }) => jobs.poolFor(plain))).toEqual(["default", "big"]);
    expect([one, two].map(({ jobs }) => jobs.poolFor({ ...plain, model: "large" }))).toEqual(["big", "big"]);
    one.submit("named", { input: { model: "large" } });
    one.submit("default");
    two.submit("own");
    two.submit("other", { input: { model: "small" } });
    expect(await drawn(small, 2)).toEqual(["default", "other"]);
    expect(await drawn(large, 2)).toEqual(["named", "own"]);
  });

  it("has the defaults, limits and sizes of the model that it names", async () => {
    await using fleet = new MemoryFleet();
    await fleet.node("small", SMALL);
    const { worker } = await fleet.node("large", LARGE);
    const gateway = fleet.gateway();
    await knows(gateway, "small", "large");
    const wide = { width: 1_024, height: 1_024 };
    gateway.submit("a", { input: { model: "large", width: wide.width } });
    await eventually(() => expect(worker.jobs).toEqual(["a"]));
    const params = { model: "large", width: 1_024, height: 512, num_inference_steps: 30 };
    expect(worker.received.find(({ type }) => type === "generate")).toMatchObject({ params });
    expect(refusal(() => gateway.submit("b", { input: wide })).message).toContain("64 to 512");
  });

  it("that names a model which no pool has is refused with the names that there are", async () => {
    await using fleet = new MemoryFleet();
    await fleet.node("small", SMALL);
    await fleet.node("large", LARGE);
    const gateway = fleet.gateway();
    await knows(gateway, "small", "large");
    const error = refusal(() => gateway.submit("a", { input: { model: "huge" } }));
    expect(error).toMatchObject({ code: "invalid_request", fields: [{ loc: ["body", "model"] }] });
    expect(error.message).toBe('model: there is no model "huge"; there is "small", "large"');
  });

  it("that names any model is drawn where there is one pool, with a warning", async () => {
    await using fleet = new MemoryFleet();
    const { worker } = await fleet.node("small", SMALL);
    const gateway = fleet.gateway();
    await knows(gateway, "small");
    const job = gateway.submit("a", { input: { model: "sdxl" } });
    await eventually(() => expect(worker.jobs).toEqual(["a"]));
    expect((await job.resolved).warnings).toEqual(['model "sdxl" was ignored: this server has one model, "small"']);
  });

  it("waits for the gateway's own pool, which was never there, while one that names another pool's model is drawn", async () => {
    await using fleet = new MemoryFleet();
    const large = await fleet.node("large", LARGE);
    const gateway = fleet.gateway();
    await knows(gateway, "large");
    const waiting = gateway.submit("waiting", { modelTimeoutMs: 60_000 });
    gateway.submit("named", { input: { model: "large" } });
    await eventually(() => expect(large.worker.jobs).toEqual(["named"]));
    expect(waiting.state.kind).toBe("pending");
    const small = await fleet.node("small", SMALL);
    await eventually(() => expect(small.worker.jobs).toEqual(["waiting"]));
  });
});

describe("a gateway that has not read yet which pools there are", () => {
  it("draws no other model than the one that is named: it waits until it knows, and queues nothing till then", async () => {
    await using fleet = new MemoryFleet();
    const { worker } = await fleet.node("small", SMALL);
    const first = await fleet.node("first", LARGE);
    await eventually(() => expect(first.node.beat.state).toBe("ready"));
    await first.close();
    fleet.network.hasMajority = false;
    const gateway = fleet.gateway();
    await knows(gateway, "small");
    const input = generateInput.parse({ prompt: "x", model: "large" });
    expect(refusal(() => gateway.jobs.poolFor(input))).toMatchObject({ code: "worker_unavailable" });
    const job = gateway.submit("a", { input: { model: "large" } });
    expect(job.state.kind).toBe("pending");
    fleet.network.hasMajority = true;
    expect(await endOf(job)).toMatchObject({ kind: "failed", error: { code: "worker_unavailable" } });
    expect(worker.jobs).toEqual([]);
  });
});

describe("a pool", () => {
  it("without a node is unserved: its model is refused at once, with the reason, while others are drawn", async () => {
    await using fleet = new MemoryFleet();
    const small = await fleet.node("small", SMALL);
    const large = await fleet.node("large", LARGE);
    const gateway = fleet.gateway();
    await knows(gateway, "small", "large");
    expect(gateway.jobs.snapshot()).toMatchObject({
      model: { id: "small" },
      models: [{ id: "small", is_loaded: true, problem: null }, { id: "large" }],
      unserved_models: [],
      cluster: {
        pool: "default",
        pools: [
          { name: "default", model: "small", nodes: 1 },
          { name: "big", nodes: 1 },
        ],
      },
    });
    await large.close();
    await knows(gateway, "small");
    expect(gateway.jobs.snapshot()).toMatchObject({
      status: "ready",
      models: [{ id: "small" }],
      unserved_models: [{ id: "large", problem: "no node of pool big takes work" }],
    });
    const error = refusal(() => gateway.submit("a", { input: { model: "large" } }));
    expect(error).toMatchObject({ code: "worker_unavailable", retryAfterSeconds: 10 });
    expect(error.message).toContain("no node of pool big takes work");
    gateway.submit("b");
    await eventually(() => expect(small.worker.jobs).toEqual(["b"]));
  });

  it("whose nodes are gone is known to gateways that come later, until its record is removed", async () => {
    await using fleet = new MemoryFleet();
    const large = await fleet.node("large", LARGE);
    await eventually(() => expect(large.node.beat.state).toBe("ready"));
    await large.close();
    await fleet.node("small", SMALL);
    const gateway = fleet.gateway();
    await eventually(() => expect(gateway.jobs.snapshot().status).toBe("ready"));
    expect(refusal(() => gateway.submit("a", { input: { model: "large" } })).code).toBe("worker_unavailable");
    await gateway.bus.purge(fleet.layout.streams.state, fleet.layout.pool("big"));
    await eventually(() => expect(gateway.jobs.snapshot().cluster?.pools).toHaveLength(1));
    expect(gateway.jobs.snapshot().models).toBeUndefined();
  });

  it("that is forgotten fails what waits in it: nobody would take it", async () => {
    await using fleet = new MemoryFleet();
    const large = await fleet.node("large", { ...LARGE, slots: 1 });
    await fleet.node("small", SMALL);
    const gateway = fleet.gateway();
    await knows(gateway, "small", "large");
    const toLarge = { input: { model: "large" } };
    gateway.submit("drawn", toLarge);
    await eventually(() => expect(large.worker.jobs).toEqual(["drawn"]));
    large.worker.start("drawn");
    const waiting = gateway.submit("waiting", toLarge);
    await eventually(() => expect(waiting.position).toBe(0));
    await large.close();
    await gateway.bus.purge(fleet.layout.streams.state, fleet.layout.pool("big"));
    expect(await endOf(waiting)).toMatchObject({
      kind: "failed",
      error: { code: "worker_unavailable", message: expect.stringContaining("no node of pool big takes work") },
    });
    expect(gateway.jobs.snapshot()).toMatchObject({ queue: { waiting: 0 }, cluster: { pools: [{ name: "default" }] } });
  });

  it("counts what it can draw side by side by itself", async () => {
    await using fleet = new MemoryFleet();
    await fleet.node("small", SMALL);
    for (const name of ["one", "two", "three"]) await fleet.node(name, LARGE);
    const gateway = fleet.gateway();
    await knows(gateway, "small", "large");
    await eventually(() => expect(gateway.fleet.ready("big")).toHaveLength(3));
    const pools = ["small", "large"].map((model) =>
      gateway.jobs.poolOf({ input: generateInput.parse({ prompt: "x", model }) }),
    );
    expect(pools).toEqual(["default", "big"]);
    const rows = pools.map((pool) => gateway.jobs.imagesAtOnce(pool));
    expect(rows[1]).toBe(3 * rows[0]!);
    expect(gateway.jobs.imagesAtOnce("never heard of")).toBe(1);
  });

  it("that gets its node back draws what waited for it", async () => {
    await using fleet = new MemoryFleet();
    const first = await fleet.node("large", LARGE);
    const gateway = fleet.gateway();
    await knows(gateway, "large");
    await first.close();
    await eventually(() => expect(gateway.jobs.snapshot().status).toBe("loading"));
    // No pool draws: the fleet may be on its way up.
    const job = gateway.submit("a", { input: { model: "large" }, modelTimeoutMs: 60_000 });
    const again = await fleet.node("again", LARGE);
    await eventually(() => expect(again.worker.jobs).toEqual(["a"]));
    again.worker.start("a");
    again.worker.finish("a");
    expect(await endOf(job)).toMatchObject({ kind: "succeeded" });
  });

  it("has a queue of its own: its limit, its places, its estimates", async () => {
    await using fleet = new MemoryFleet();
    const small = await fleet.node("small", { ...SMALL, slots: 1 });
    const large = await fleet.node("large", { ...LARGE, slots: 1 });
    const gateway = fleet.gateway("gateway-1", { queueLimit: 2 });
    await knows(gateway, "small", "large");
    const toLarge = { input: { model: "large" } };
    const [drawnSmall, drawnLarge] = [gateway.submit("small"), gateway.submit("large", toLarge)];
    await eventually(() => expect([small.worker.jobs, large.worker.jobs]).toEqual([["small"], ["large"]]));
    small.worker.start("small");
    large.worker.start("large");
    await eventually(() =>
      expect([drawnSmall, drawnLarge].map(({ state }) => state.kind)).toEqual(["running", "running"]),
    );
    const [first, second] = [gateway.submit("first", toLarge), gateway.submit("second", toLarge)];
    await eventually(() => expect([first.position, second.position]).toEqual([0, 1]));
    expect(refusal(() => gateway.submit("third", toLarge)).code).toBe("queue_full");
    const other = gateway.submit("other");
    await eventually(() => expect(other.place).toMatchObject({ position: 0, estimateMs: expect.any(Number) }));
    expect(gateway.jobs.snapshot()).toMatchObject({
      queue: { waiting: 3 },
      cluster: {
        pools: [
          { name: "default", waiting: 1 },
          { name: "big", waiting: 2 },
        ],
      },
    });
  });

  it("that is the gateway's own has a model's name before others, then one that has a node", async () => {
    await using fleet = new MemoryFleet({ pools: ["default", "a", "b"] });
    const own = await fleet.node("own", { model: { id: "same" } });
    const a = await fleet.node("a", { pool: "a", model: { id: "twin" } });
    const b = await fleet.node("b", { pool: "b", model: { id: "twin" } });
    const c = await fleet.node("c", { pool: "b", model: { id: "twin" } });
    const gateway = fleet.gateway();
    await knows(gateway, "same", "twin");
    gateway.submit("1", { input: { model: "same" } });
    gateway.submit("2", { input: { model: "twin" } });
    await eventually(() => expect([own, a].map(({ worker }) => worker.jobs)).toEqual([["1"], ["2"]]));
    await a.close();
    await eventually(() => expect(gateway.fleet.ready("a")).toEqual([]));
    gateway.submit("3", { input: { model: "twin" } });
    await eventually(() => expect([...b.worker.jobs, ...c.worker.jobs]).toEqual(["3"]));
  });
});
