/** Interactive jobs over a fleet in memory: what must hold whatever nodes, gateways and the network do. Time is vitest's. */
import { describe, expect, it, vi } from "vitest";
import { InputImages } from "../../../src/images/inputs.ts";
import type { Job } from "../../../src/jobs/job.ts";
import { endOf, eventually, eventsOf, MemoryFleet, type MemoryNode } from "../../support/memory-fleet.ts";
import { useMovingTime } from "../../support/moving-time.ts";

/** More than the silence after which a node is dead. */
const DEATH_MS = 8_000;
/** More than a node waits for what it has asked for. */
const PULL_MS = 1_200;

useMovingTime();

/** Draws a job that a node has to its end. */
async function draw({ worker }: MemoryNode, id: string): Promise<void> {
  await eventually(() => expect(worker.jobs).toContain(id));
  worker.start(id);
  worker.step(id, 0);
  worker.preview(id, 0);
  worker.finish(id);
}

/** What happened, with news about its place counted once. */
async function kinds(job: Job): Promise<string[]> {
  const all = (await eventsOf(job)).map(({ kind }) => kind);
  return all.filter((kind, index) => kind !== "queued" || all[index - 1] !== "queued");
}

describe("a job of a gateway", () => {
  it("is drawn by a node, with its events and its result as on a single machine", async () => {
    await using fleet = new MemoryFleet();
    const gateway = fleet.gateway();
    const node = await fleet.node();
    const { worker } = node;
    await eventually(() => expect(gateway.jobs.snapshot().status).toBe("ready"));
    const job = gateway.submit("a");
    const seen = kinds(job);
    await eventually(() => expect(worker.jobs).toEqual(["a"]));
    expect(worker.received.find(({ type }) => type === "generate")).toMatchObject({ params: { prompt: "x", seed: 1 } });
    worker.start("a");
    worker.step("a", 0);
    worker.preview("a", 0);
    await eventually(() =>
      expect(job.newestPreview).toMatchObject({ step: 0, images: [{ bytes: Buffer.from("jpeg") }] }),
    );
    worker.finish("a");
    expect(await seen).toEqual(["queued", "started", "progress", "preview", "succeeded"]);
    expect(await endOf(job)).toMatchObject({ result: { seed: 1, images: [{ width: 8, contentType: "image/jpeg" }] } });
    await eventually(() => expect(fleet.tickets).toBe(0));
    expect(gateway.jobs.snapshot()).toMatchObject({
      status: "ready",
      queue: { waiting: 0, unfinished: 0 },
      counters: { accepted: 1, succeeded: 1, previews: 1 },
    });
  });

  it("is refused at once where the model of the pool cannot make it, though no node is up", async () => {
    await using fleet = new MemoryFleet();
    const node = await fleet.node();
    const gateway = fleet.gateway();
    await eventually(() => expect(gateway.jobs.model?.id).toBe("test"));
    await node.close();
    await eventually(() => expect(gateway.jobs.snapshot().status).toBe("loading"));
    expect(() => gateway.submit("large", { input: { width: 1_024 } })).toThrow(/64 to 512/);
  });

  it("waits for the first node, and fails when none comes in time", async () => {
    await using fleet = new MemoryFleet();
    const gateway = fleet.gateway();
    const patient = gateway.submit("patient", { modelTimeoutMs: 60_000 });
    const hasty = gateway.submit("hasty", { modelTimeoutMs: 1_000 });
    await vi.advanceTimersByTimeAsync(1_500);
    expect(hasty.ended).toMatchObject({ kind: "failed", error: { code: "worker_unavailable" } });
    const node = await fleet.node();
    await draw(node, "patient");
    expect(await endOf(patient)).toMatchObject({ kind: "succeeded" });
  });

  it("fails as it failed on its node, in the same words", async () => {
    await using fleet = new MemoryFleet();
    const gateway = fleet.gateway();
    const { worker } = await fleet.node();
    const job = gateway.submit("a");
    await eventually(() => expect(worker.jobs).toEqual(["a"]));
    worker.fail("a", { code: "invalid_request", message: "no such LoRA", field: "loras" });
    expect(await endOf(job)).toMatchObject({
      kind: "failed",
      error: { code: "invalid_request", fields: [{ loc: ["body", "loras"], msg: "no such LoRA" }] },
    });
  });

  it("takes its trace along to the worker, and its observers hear which node has it", async () => {
    await using fleet = new MemoryFleet();
    const claims: string[] = [];
    const observer = { claimed: ({ id }: Job, node: string) => void claims.push(`${id} at ${node}`) };
    const gateway = fleet.gateway("gateway-1", {}, [observer]);
    const { worker } = await fleet.node();
    const traceparent = `00-${"a".repeat(32)}-${"b".repeat(16)}-01`;
    gateway.submit("a", { traceparent });
    await eventually(() => expect(worker.jobs).toEqual(["a"]));
    expect(worker.received.find(({ type }) => type === "generate")).toMatchObject({ traceparent });
    expect(claims).toEqual(["a at node-1"]);
  });

  it("starts from the gateway's images, byte for byte", async () => {
    await using fleet = new MemoryFleet();
    const gateway = fleet.gateway();
    const { worker } = await fleet.node();
    // Larger than a message, so that it comes in parts.
    const side = 640;
    const image = { bytes: Buffer.alloc(side * side * 3, 7), width: side, height: side };
    const mask = { bytes: Buffer.alloc(side * side, 255), width: side, height: side };
    image.bytes.writeUInt32BE(0xc0ffee, image.bytes.byteLength - 4);
    const inputs = new InputImages({ image, mask, digests: { image: "sha", mask: "mask" } });
    gateway.submit("a", { inputs, input: { width: 512, height: 512 } });
    await eventually(() => expect(worker.jobs).toEqual(["a"]));
    const [sentImage, sentMask] = worker.payloads.at(-1)!;
    expect(sentImage!.equals(inputs.frames![0]!)).toBe(true);
    expect(sentMask!.equals(inputs.frames![1]!)).toBe(true);
  });

  it("keeps the images of one request together, also where each is larger than a message", async () => {
    await using fleet = new MemoryFleet();
    fleet.network.maxPayload = 2_048;
    const gateway = fleet.gateway();
    const { worker } = await fleet.node();
    const job = gateway.submit("a", { input: { num_images: 2, output_format: "png" } });
    await eventually(() => expect(worker.jobs).toEqual(["a"]));
    worker.start("a");
    worker.finishNoise("a", 2, 64);
    const end = await endOf(job);
    expect(end).toMatchObject({ kind: "succeeded", result: { images: [{ seed: 1 }, { seed: 2 }] } });
    if (end.kind !== "succeeded") return;
    for (const { bytes } of end.result.images) expect(bytes.byteLength).toBeGreaterThan(2 * 2_048);
  });
});

describe("a job whose node dies", () => {
  it("goes on elsewhere for the same listener, with the same seed", async () => {
    await using fleet = new MemoryFleet();
    const gateway = fleet.gateway();
    const first = await fleet.node("first");
    const job = gateway.submit("a");
    const seen = kinds(job);
    await eventually(() => expect(first.worker.jobs).toEqual(["a"]));
    first.worker.start("a");
    first.worker.step("a", 0);
    await eventually(() => expect(job.state).toMatchObject({ kind: "running", step: 0 }));
    const second = await fleet.node("second");
    first.die();
    await vi.advanceTimersByTimeAsync(DEATH_MS);
    await eventually(() => expect(second.worker.jobs).toHaveLength(1));
    const [id] = second.worker.jobs;
    expect(second.worker.received.find(({ type }) => type === "generate")).toMatchObject({ params: { seed: 1 } });
    second.worker.start(id!);
    second.worker.finish(id!);
    expect(await seen).toEqual(["queued", "started", "progress", "queued", "started", "succeeded"]);
  });

  it("fails after the third death, and the last try runs alone", async () => {
    await using fleet = new MemoryFleet();
    const gateway = fleet.gateway();
    let node = await fleet.node("n0");
    const job = gateway.submit("a");
    for (let death = 1; death <= 3; death += 1) {
      await eventually(() => expect(node.worker.jobs).toHaveLength(1));
      const next = await fleet.node(`n${death}`);
      node.die();
      await vi.advanceTimersByTimeAsync(DEATH_MS);
      node = next;
    }
    expect(await endOf(job)).toMatchObject({ kind: "failed", error: { code: "worker_crashed" } });
  });

  it("is not taken from a node by silence that this gateway may have caused itself", async () => {
    await using fleet = new MemoryFleet();
    const gateway = fleet.gateway();
    const node = await fleet.node();
    const job = gateway.submit("a");
    await eventually(() => expect(node.worker.jobs).toEqual(["a"]));
    gateway.bus.isConnected = false;
    await vi.advanceTimersByTimeAsync(10 * DEATH_MS);
    gateway.bus.isConnected = true;
    await vi.advanceTimersByTimeAsync(2_000);
    expect(gateway.fleet.nodes.map(({ name }) => name)).toEqual(["node-1"]);
    expect(job.ended).toBeUndefined();
  });

  it("is taken at once when its node comes back as another process", async () => {
    await using fleet = new MemoryFleet();
    const gateway = fleet.gateway();
    const old = await fleet.node("node-1", { incarnation: () => "old" });
    const job = gateway.submit("a");
    await eventually(() => expect(old.worker.jobs).toEqual(["a"]));
    old.die();
    const fresh = await fleet.node("node-1", { incarnation: () => "fresh" });
    await draw(fresh, "a.1.2");
    expect(await endOf(job)).toMatchObject({ kind: "succeeded" });
  });

  it("ends once though the dead one wakes up and finishes it too", async () => {
    await using fleet = new MemoryFleet();
    const gateway = fleet.gateway();
    const sleeper = await fleet.node("sleeper");
    const job = gateway.submit("a");
    await eventually(() => expect(sleeper.worker.jobs).toEqual(["a"]));
    sleeper.worker.start("a");
    const other = await fleet.node("other");
    sleeper.die();
    await vi.advanceTimersByTimeAsync(DEATH_MS);
    await eventually(() => expect(other.worker.jobs).toEqual(["a.1.2"]));
    other.worker.start("a.1.2");
    await eventually(() => expect(job.state.kind).toBe("running"));
    sleeper.bus.isConnected = true;
    sleeper.worker.preview("a", 19);
    sleeper.worker.finish("a");
    await vi.advanceTimersByTimeAsync(3_000);
    expect([job.ended, job.newestPreview]).toEqual([undefined, undefined]);
    other.worker.finish("a.1.2");
    expect(await endOf(job)).toMatchObject({ kind: "succeeded" });
    await eventually(() => expect(fleet.tickets).toBe(0));
    expect(gateway.jobs.snapshot().counters).toMatchObject({ accepted: 1, succeeded: 1, failed: 0 });
  });
});

describe("a device that has much to do", () => {
  /** A node with five jobs that it has begun. */
  async function busyNode(fleet: MemoryFleet, submit: (id: string) => Job): Promise<MemoryNode> {
    const busy = await fleet.node("busy");
    for (const id of ["1", "2", "3", "4", "5"]) {
      submit(id);
      await eventually(() => expect(busy.worker.jobs).toContain(id));
      busy.worker.start(id);
      busy.worker.step(id, 0);
    }
    return busy;
  }

  it("leaves a job to another one that would end it much sooner, though that cannot take it this moment", async () => {
    await using fleet = new MemoryFleet();
    const { submit } = fleet.gateway();
    const busy = await busyNode(fleet, submit);
    const other = await fleet.node("other");
    submit("newcomer");
    await eventually(() => expect(other.worker.jobs).toEqual(["newcomer"]));
    await vi.advanceTimersByTimeAsync(PULL_MS);
    submit("next");
    await vi.advanceTimersByTimeAsync(2_000);
    expect(busy.worker.jobs).not.toContain("next");
    other.worker.start("newcomer");
    await eventually(() => expect(other.worker.jobs).toEqual(["newcomer", "next"]));
  });

  it("takes it when the other one has fallen silent, before that is found dead", async () => {
    await using fleet = new MemoryFleet();
    const { submit } = fleet.gateway();
    const busy = await busyNode(fleet, submit);
    const silent = await fleet.node("silent");
    await vi.advanceTimersByTimeAsync(PULL_MS);
    silent.die();
    await vi.advanceTimersByTimeAsync(PULL_MS);
    submit("next");
    await vi.advanceTimersByTimeAsync(DEATH_MS / 2 - PULL_MS);
    expect(busy.worker.jobs).toContain("next");
  });
});

describe("a ticket", () => {
  it("that is there twice runs its job once", async () => {
    await using fleet = new MemoryFleet();
    const gateway = fleet.gateway();
    const node = await fleet.node();
    const job = gateway.submit("a");
    await eventually(() => expect(node.worker.jobs).toEqual(["a"]));
    node.worker.start("a");
    node.worker.step("a", 0);
    fleet.repeatTicket();
    await vi.advanceTimersByTimeAsync(3_000);
    expect(node.worker.jobs).toEqual(["a"]);
    node.worker.finish("a");
    expect(await endOf(job)).toMatchObject({ kind: "succeeded" });
    await eventually(() => expect(fleet.tickets).toBe(0));
  });

  it("that the queue has lost is made again", async () => {
    await using fleet = new MemoryFleet();
    const gateway = fleet.gateway();
    const full = await fleet.node("full", { slots: 1 });
    gateway.submit("first");
    await eventually(() => expect(full.worker.jobs).toEqual(["first"]));
    const job = gateway.submit("lost");
    await eventually(() => expect(fleet.tickets).toBe(2));
    fleet.loseTicketsOf("lost");
    await vi.advanceTimersByTimeAsync(6_000);
    const other = await fleet.node("other");
    await draw(other, "lost.2.1");
    expect(await endOf(job)).toMatchObject({ kind: "succeeded" });
    expect(gateway.jobs.dispatch.remade).toBe(1);
  });

  it("of a job that ended while it waited is thrown away by whoever pulls it", async () => {
    await using fleet = new MemoryFleet();
    const gateway = fleet.gateway();
    const node = await fleet.node("node-1", { slots: 1 });
    const first = gateway.submit("first");
    await eventually(() => expect(node.worker.jobs).toEqual(["first"]));
    const waiting = gateway.submit("waiting");
    await eventually(() => expect(fleet.tickets).toBe(2));
    expect(gateway.jobs.cancel(waiting, "client_gone")).toBe(true);
    await draw(node, "first");
    await endOf(first);
    await eventually(() => expect(fleet.tickets).toBe(0));
    expect(node.worker.jobs).toEqual(["first"]);
  });

  it("of a version that a node does not know is left to others", async () => {
    await using fleet = new MemoryFleet();
    const node = await fleet.node();
    await eventually(() => expect(node.node.beat.state).toBe("ready"));
    fleet.putTicket("strange", { v: 99 });
    await vi.advanceTimersByTimeAsync(1_000);
    expect([fleet.tickets, node.worker.jobs]).toEqual([1, []]);
  });
});

describe("what a node says", () => {
  it("may be lost on the way, but for the end: that is repeated until it is heard", async () => {
    await using fleet = new MemoryFleet();
    const gateway = fleet.gateway();
    const { worker } = await fleet.node();
    const job = gateway.submit("a");
    const seen = kinds(job);
    await eventually(() => expect(worker.jobs).toEqual(["a"]));
    const toGateway = fleet.layout.toGateway("gateway-1", "a");
    fleet.network.drops = (subject) => subject === toGateway;
    worker.start("a");
    worker.step("a", 0);
    worker.preview("a", 0);
    await vi.advanceTimersByTimeAsync(100);
    fleet.network.drops = () => false;
    worker.step("a", 1);
    worker.finish("a");
    expect(await seen).toEqual(["queued", "started", "progress", "succeeded"]);
  });
});

describe("a cancellation", () => {
  it("frees the device of a job that runs", async () => {
    await using fleet = new MemoryFleet();
    const gateway = fleet.gateway();
    const { worker } = await fleet.node();
    const job = gateway.submit("a");
    await eventually(() => expect(worker.jobs).toEqual(["a"]));
    worker.start("a");
    await eventually(() => expect(job.state.kind).toBe("running"));
    gateway.jobs.cancel(job, "client_gone");
    await eventually(() => expect(worker.cancelled).toEqual(["a"]));
    await eventually(() => expect(fleet.tickets).toBe(0));
  });

  it("that is lost is noticed when the node asks what is still wanted", async () => {
    await using fleet = new MemoryFleet();
    const gateway = fleet.gateway();
    const { worker } = await fleet.node();
    const job = gateway.submit("a");
    await eventually(() => expect(worker.jobs).toEqual(["a"]));
    fleet.network.drops = (subject) => subject === fleet.layout.cancel;
    gateway.jobs.cancel(job, "client_gone");
    await eventually(() => expect(worker.cancelled).toEqual(["a"]));
  });

  it("is what the end of its gateway amounts to", async () => {
    await using fleet = new MemoryFleet();
    const gateway = fleet.gateway();
    const { worker } = await fleet.node();
    gateway.submit("a");
    await eventually(() => expect(worker.jobs).toEqual(["a"]));
    worker.start("a");
    gateway.bus.isConnected = false;
    await vi.advanceTimersByTimeAsync(3_000);
    await eventually(() => expect(worker.cancelled).toEqual(["a"]));
    await eventually(() => expect(fleet.tickets).toBe(0));
  });
});

describe("a node that drains", () => {
  it("hands back what it has not begun and finishes the rest", async () => {
    await using fleet = new MemoryFleet();
    const gateway = fleet.gateway();
    const leaving = await fleet.node("leaving", { capabilities: { max_batch: 2 } });
    const [running, waiting] = [gateway.submit("running"), gateway.submit("waiting")];
    await eventually(() => expect(leaving.worker.jobs).toEqual(["running", "waiting"]));
    leaving.worker.start("running");
    await eventually(() => expect(running.state.kind).toBe("running"));
    const staying = await fleet.node("staying");
    await leaving.node.retire();
    await draw(staying, "waiting.1.2");
    expect(await endOf(waiting)).toMatchObject({ kind: "succeeded" });
    leaving.worker.finish("running");
    expect(await endOf(running)).toMatchObject({ kind: "succeeded" });
    await leaving.close();
    await eventually(() => expect(gateway.fleet.nodes.map(({ name }) => name)).toEqual(["staying"]));
  });
});

describe("a pool", () => {
  it("has one model: a node with another takes no work and says why", async () => {
    await using fleet = new MemoryFleet();
    const first = await fleet.node("first");
    await eventually(() => expect(first.node.beat.state).toBe("ready"));
    const odd = await fleet.node("odd", { facts: { shortcuts: ["cfg-cutoff"], maxBatch: null } });
    await vi.advanceTimersByTimeAsync(3_000);
    expect(odd.node.beat).toMatchObject({ state: "mismatch", reason: expect.stringContaining("default") });
    expect([first.node.problem, odd.node.problem]).toEqual([undefined, odd.node.beat.reason]);
    await first.close();
    await vi.advanceTimersByTimeAsync(DEATH_MS);
    // Nobody is left for whom it would be another model.
    expect(odd.node.beat.state).toBe("ready");
  });
});

describe("a node that has loaded", () => {
  it("has joined, and takes work, once the servers have taken it into its pool", async () => {
    await using fleet = new MemoryFleet();
    const { node } = await fleet.node();
    expect(node.problem).toMatch(/yet/);
    const joined = node.joined(new AbortController().signal).then(() => node.beat.state);
    expect(await joined).toBe("ready");
    await eventually(() => expect(node.problem).toBeUndefined());
  });

  it("takes no work while it is cut off from the servers", async () => {
    await using fleet = new MemoryFleet();
    const { node, bus } = await fleet.node();
    await eventually(() => expect(node.problem).toBeUndefined());
    bus.isConnected = false;
    await eventually(() => expect(node.problem).toMatch(/do not answer/));
    bus.isConnected = true;
    await eventually(() => expect(node.problem).toBeUndefined());
  });
});

describe("a gateway", () => {
  it("refuses what does not fit the queue, and tells places among what others wait for", async () => {
    await using fleet = new MemoryFleet();
    const [one, two] = [fleet.gateway("one", { queueLimit: 3 }), fleet.gateway("two")];
    const { worker } = await fleet.node("node-1", { slots: 1 });
    const begun = one.submit("a");
    await eventually(() => expect(worker.jobs).toEqual(["a"]));
    worker.start("a");
    await eventually(() => expect(begun.state.kind).toBe("running"));
    two.submit("b");
    two.submit("c");
    await eventually(() => expect(one.jobs.waiting).toBe(2));
    const last = one.submit("d");
    expect(last.position).toBe(2);
    expect(() => one.submit("e")).toThrow(/queue is full/);
  });

  it("drains: what was accepted ends, new jobs are refused", async () => {
    await using fleet = new MemoryFleet();
    const gateway = fleet.gateway();
    const node = await fleet.node();
    const job = gateway.submit("a");
    await eventually(() => expect(node.worker.jobs).toEqual(["a"]));
    const drained = gateway.jobs.drain(60_000);
    expect(() => gateway.submit("b")).toThrow(/shutting down/);
    await draw(node, "a");
    await drained;
    expect(job.ended?.kind).toBe("succeeded");
  });
});
