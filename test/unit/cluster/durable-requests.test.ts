import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { LatentcastError } from "../../../src/errors.ts";
import type { RequestEvent } from "../../../src/requests/request-events.ts";
import type { RequestRef, RequestSubmission } from "../../../src/requests/submission.ts";
import { generateInput } from "../../../src/schema/input.ts";
import { request } from "../../contract/store-under-test.ts";
import { eventually } from "../../support/eventually.ts";
import {
  memoryFleet,
  type MemoryFleet,
  type MemoryGateway,
  type MemoryNode,
} from "../../support/memory-request-fleet.ts";

let fleet: MemoryFleet;
let [a, b]: MemoryGateway[] = [];
let [first, second]: MemoryNode[] = [];
beforeEach(async () => {
  fleet = await memoryFleet();
  [a, b] = [await fleet.gateway("a"), await fleet.gateway("b")];
  [first, second] = [fleet.node("first"), fleet.node("second")];
});
afterEach(() => fleet[Symbol.asyncDispose]());

const input = generateInput.parse({ prompt: "x", seed: 7 });
const never = new AbortController().signal;
const ref = (id: string): RequestRef => ({ id, owner: null });
const image = { bytes: Buffer.from("a small image"), contentType: "image/png", width: 8, height: 8, seed: 7 };

function submission(id: string, extras: Partial<RequestSubmission> = {}): RequestSubmission {
  const { app, dialect, baseUrl, priority, webhookUrl, traceparent } = request(id);
  return {
    id,
    owner: null,
    app,
    dialect,
    baseUrl,
    priority,
    webhookUrl,
    traceparent,
    startTimeoutMs: undefined,
    ...extras,
  };
}

/** Its ticket is in the queue then. */
async function accept(gateway: MemoryGateway, id = "1", extras: Partial<RequestSubmission> = {}): Promise<number> {
  const ahead = await gateway.queue.accept(submission(id, extras), input);
  await gateway.queue.close();
  return ahead;
}

async function drawing(node: MemoryNode, id = "1", steps = 0): Promise<void> {
  expect(await node.pull()).toBe(true);
  const job = node.jobs.start(id);
  for (let step = 0; step < steps; step += 1) job.progress(step);
}

const preview = (node: MemoryNode, step: number, bytes = Buffer.from(`preview ${step}`)): void =>
  node.jobs.byId
    .get("1")!
    .preview({ kind: "preview", step, totalSteps: 20, images: [{ ...image, bytes, contentType: "image/jpeg" }] }, 1);

async function isEnded(id = "1"): Promise<void> {
  await eventually(async () => {
    for (const gateway of [a!, b!]) expect(await gateway.queue.status(ref(id))).toMatchObject({ kind: "ended" });
  });
}

/** Tickets that are waiting or handed out. */
const tickets = (): number => fleet.network.stream(fleet.layout.streams.tickets).messages.length;

const follow = async (gateway: MemoryGateway, lastEventId?: string): Promise<AsyncIterable<RequestEvent>> =>
  (await gateway.queue.events(ref("1"), lastEventId, never))!;

interface Heard {
  readonly id: string;
  readonly name: string;
  readonly data: Record<string, unknown>;
}

async function read(events: AsyncIterable<RequestEvent>, isLast: (event: Heard) => boolean = () => false) {
  const all: Heard[] = [];
  for await (const { id, name, json } of events) {
    all.push({ id, name, data: JSON.parse(json.toString()) });
    if (isLast(all.at(-1)!)) break;
  }
  return all;
}

const stepOf = (data: Record<string, unknown>): number => (data["preview"] as { step: number }).step;

const steps = (events: readonly Heard[]): unknown[] =>
  events.filter(({ name }) => name === "progress").map(({ data }) => data["step"]);

describe("a durable request", () => {
  it("is accepted by one gateway, drawn by a node, and shown alike by every gateway", async () => {
    expect(await accept(a!)).toBe(0);
    expect(await accept(a!, "2")).toBe(1);
    await eventually(async () => {
      expect(await b!.queue.status(ref("2"))).toEqual({ kind: "queued", app: "local/sdxl", position: 1 });
    });
    await drawing(first!, "1", 2);
    await eventually(async () => {
      const status = await b!.queue.status(ref("1"), { withLogs: true });
      expect(status).toMatchObject({ kind: "running" });
      const messages = status?.kind === "running" ? status.logs.map(({ message }) => message) : [];
      expect(messages).toEqual(["queued", "started", "step 1 of 20", "step 2 of 20"]);
    });
    first!.jobs.succeed("1", [image]);
    await isEnded();
    const responses = await Promise.all([a!, b!].map(({ queue }) => queue.response(ref("1"))));
    expect(responses[0]).toMatchObject({ status: 200 });
    expect(JSON.parse(String(responses[0]!.body))).toMatchObject({ seed: 7 });
    expect(responses[1]).toEqual(responses[0]);
    await eventually(() => expect(tickets()).toBe(1));
  });

  it("is not there for anybody but its owner, on any gateway", async () => {
    await accept(a!, "1", { owner: "mine" });
    for (const { queue } of [a!, b!]) {
      expect(await queue.status(ref("1"))).toBeUndefined();
      expect(await queue.events(ref("1"), undefined, never)).toBeUndefined();
      expect(await queue.cancel(ref("1"))).toBe("unknown");
      expect(await queue.status({ id: "1", owner: "mine" })).toMatchObject({ kind: "queued" });
    }
  });

  it("that was wrong is kept with its reason", async () => {
    await a!.queue.refuse(submission("1"), new LatentcastError("invalid_request"));
    expect(await b!.queue.response(ref("1"))).toMatchObject({ status: 422 });
    expect(tickets()).toBe(0);
  });

  it("whose ticket was made twice is drawn once", async () => {
    await accept(a!);
    const [message] = fleet.network.stream(fleet.layout.streams.tickets).messages;
    await a!.bus.put(fleet.layout.streams.tickets, message!.subject, message!.header, Buffer.alloc(0), { id: "again" });
    await drawing(first!);
    expect(await first!.pull()).toBe(true);
    await eventually(() => expect(tickets()).toBe(1));
    first!.jobs.succeed("1");
    await isEnded();
    expect([first!.jobs.byId.size, second!.jobs.byId.size]).toEqual([1, 0]);
    await eventually(() => expect(tickets()).toBe(0));
  });

  it("whose ticket is met by another node while its holder works is left to the holder", async () => {
    await accept(a!);
    const [message] = fleet.network.stream(fleet.layout.streams.tickets).messages;
    await drawing(first!);
    await a!.bus.put(fleet.layout.streams.tickets, message!.subject, message!.header, Buffer.alloc(0), { id: "again" });
    expect(await second!.pull()).toBe(true);
    expect(second!.jobs.byId.size).toBe(0);
    expect(tickets()).toBe(1);
  });

  it("whose claim was not answered stays with the node that made it, which asks again", async () => {
    await accept(a!);
    const claim = vi.spyOn(fleet.store, "claim").mockRejectedValueOnce(new LatentcastError("overloaded"));
    vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] });
    expect(await first!.pull()).toBe(true);
    expect([first!.jobs.byId.size, first!.beat.held.length]).toEqual([0, 1]);
    await vi.advanceTimersByTimeAsync(2_000);
    vi.useRealTimers();
    await eventually(() => expect(first!.jobs.byId.size).toBe(1));
    expect(claim).toHaveBeenCalledTimes(2);
    expect(await second!.pull()).toBe(false);
    first!.jobs.succeed("1");
    await isEnded();
  });

  it("whose record is not known at first, as by a leader that was suspended, keeps its ticket", async () => {
    await accept(a!);
    vi.spyOn(fleet.store, "find").mockResolvedValueOnce(undefined);
    vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] });
    expect(await first!.pull()).toBe(true);
    await vi.advanceTimersByTimeAsync(2_000);
    vi.useRealTimers();
    expect(tickets()).toBe(1);
    await drawing(first!);
    first!.jobs.succeed("1");
    await isEnded();
    await eventually(() => expect(tickets()).toBe(0));
  });

  it("that each node died with runs alone the third time, and fails after it", async () => {
    await accept(a!);
    const nodes = [first!, second!, fleet.node("third")];
    for (const node of nodes) {
      await drawing(node);
      a!.mourn(node);
    }
    expect(nodes.map(({ jobs }) => jobs.byId.get("1")!.deaths)).toEqual([0, 0, 1]);
    const last = fleet.node("fourth");
    await eventually(async () => expect(await last.pull()).toBe(true));
    await isEnded();
    expect(last.jobs.byId.size).toBe(0);
    expect(await b!.queue.status(ref("1"))).toMatchObject({ result: { error: { code: "worker_crashed" } } });
    await eventually(() => expect(tickets()).toBe(0));
  });
});

describe("the events of a durable request", () => {
  it("continue on another gateway after the last one that was read: none is lost, none comes twice", async () => {
    await accept(a!);
    const heard = read(await follow(a!), ({ name, id }) => name === "progress" && id.endsWith(".5"));
    await drawing(first!);
    const job = first!.jobs.byId.get("1")!;
    for (const step of [0, 1, 2, 3, 4]) {
      job.progress(step);
      await new Promise(setImmediate);
    }
    const before = await heard;
    const seen: Heard[] = [];
    const rest = read(await follow(b!, before.at(-1)!.id), (event) => seen.push(event) < 0);
    // What came before is read from the node, which has it until the end.
    await eventually(() => expect(steps(seen)).toContain(4));
    for (const step of [5, 6, 7]) job.progress(step);
    await eventually(() => expect(steps(seen)).toContain(7));
    first!.jobs.succeed("1");
    const after = await rest;
    expect([...steps(before), ...steps(after)]).toEqual([0, 1, 2, 3, 4, 5, 6, 7]);
    expect(after.at(-1)).toMatchObject({ name: "result", id: "end", data: { seed: 7 } });
    expect(await b!.queue.events(ref("1"), "end", never)).toBeNull();
    expect((await read(await follow(a!))).map(({ name }) => name)).toEqual(["result"]);
  });

  it("begin for a late listener with how things stand, the newest preview included, whatever its size", async () => {
    await accept(a!);
    await drawing(first!, "1", 3);
    preview(first!, 2, Buffer.alloc(100_000, "p"));
    const late = await read(await follow(b!), ({ name }) => name === "preview");
    expect(late.map(({ name }) => name)).toEqual(["started", "progress", "preview"]);
    expect(late[1]!.data).toMatchObject({ step: 2 });
    const large = Buffer.alloc(1_300_000, "q");
    const heard = await read(await follow(b!), ({ name, data }) => {
      if (name === "preview" && stepOf(data) === 2) preview(first!, 4, large);
      return name === "preview" && stepOf(data) === 4;
    });
    // Larger than a message: who was there hears it in parts, who comes later asks for it in pieces.
    const later = await read(await follow(a!), ({ name }) => name === "preview");
    for (const { data } of [heard.at(-1)!, later.at(-1)!]) {
      const { url } = data["image"] as { url: string };
      expect(Buffer.from(url.slice(url.indexOf(",") + 1), "base64").equals(large)).toBe(true);
    }
    expect(later.map(({ name }) => name)).toEqual(["started", "progress", "preview"]);
  });

  it("begin for a late listener without a large preview that was superseded while it was read", async () => {
    await accept(a!);
    await drawing(first!, "1", 3);
    preview(first!, 2, Buffer.alloc(1_300_000, "p"));
    const { bus } = a!;
    const ask = bus.request.bind(bus);
    vi.spyOn(bus, "request").mockImplementation((subject, header, options) => {
      if ("rest" in header) preview(first!, 3);
      return ask(subject, header, options);
    });
    const late = await read(await follow(a!), ({ name }) => name === "preview");
    expect(late.map(({ name }) => name)).toEqual(["started", "progress", "preview"]);
    expect(stepOf(late.at(-1)!.data)).toBe(3);
  });

  it("are asked for again where some were lost on their way", async () => {
    await accept(a!);
    const seen: Heard[] = [];
    const heard = read(await follow(b!), (event) => seen.push(event) < 0);
    await drawing(first!);
    const job = first!.jobs.byId.get("1")!;
    for (let step = 0; step < 12; step += 1) {
      fleet.network.drops = (subject) => subject === fleet.layout.events("1") && step % 3 !== 2;
      job.progress(step);
      await new Promise((resolve) => setTimeout(resolve, 2));
    }
    fleet.network.drops = () => false;
    await eventually(() => expect(steps(seen)).toContain(11));
    first!.jobs.succeed("1");
    const events = await heard;
    expect(steps(events)).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]);
    expect(events.at(-1)!.name).toBe("result");
  });

  it("say where it waits, and begin anew when another node draws it", async () => {
    await accept(a!, "0");
    await accept(a!);
    const seen: Heard[] = [];
    const heard = read(await follow(b!), (event) => seen.push(event) < 0);
    await drawing(first!, "0");
    await drawing(first!, "1", 3);
    await eventually(() => expect(steps(seen)).toContain(2));
    a!.mourn(first!);
    await eventually(async () => expect(await second!.pull()).toBe(true));
    await eventually(async () => expect(second!.jobs.byId.has("0")).toBe(true));
    if (!second!.jobs.byId.has("1")) expect(await second!.pull()).toBe(true);
    const job = second!.jobs.start("1");
    job.progress(0);
    await eventually(() => expect(steps(seen).at(-1)).toBe(0));
    second!.jobs.succeed("1");
    const events = await heard;
    expect(events.filter(({ name }) => name === "started")).toHaveLength(2);
    expect(steps(events)).toEqual([0, 1, 2, 0]);
    expect(events[0]).toMatchObject({ name: "queued", data: { position: 1 } });
    const ids = events.slice(0, -1).map(({ id }) => id.split(".").map(Number));
    expect(ids).toEqual(ids.toSorted(([run = 0, n = 0], [otherRun = 0, otherN = 0]) => run - otherRun || n - otherN));
  });

  it("do not cancel anything when their reader leaves, and drive statuses too", async () => {
    await accept(a!);
    const leave = new AbortController();
    const seen: string[] = [];
    const watching = (async () => {
      for await (const status of b!.queue.statuses(ref("1"), never)) seen.push(status.kind);
    })();
    const reading = read((await b!.queue.events(ref("1"), undefined, leave.signal))!);
    await drawing(first!, "1", 1);
    await eventually(() => expect(seen).toContain("running"));
    leave.abort();
    await reading;
    expect(first!.jobs.byId.get("1")!.ended).toBeUndefined();
    first!.jobs.succeed("1");
    await watching;
    expect(seen.at(-1)).toBe("ended");
  });
});

describe("a cancellation", () => {
  it("by another gateway holds while the request waits, and no node draws it", async () => {
    await accept(a!);
    expect(await b!.queue.cancel(ref("1"))).toBe("removed");
    expect(await a!.queue.cancel(ref("1"))).toBe("ended_before");
    await first!.pull();
    expect(first!.jobs.byId.size).toBe(0);
    await eventually(() => expect(tickets()).toBe(0));
    expect(await a!.queue.response(ref("1"))).toMatchObject({ status: 499 });
  });

  it("frees the device of the node that draws, and listeners hear of it everywhere", async () => {
    await accept(a!);
    const heard = read(await follow(a!));
    await drawing(first!, "1", 2);
    expect(await b!.queue.cancel(ref("1"))).toBe("stopping");
    await eventually(() => expect(first!.jobs.byId.get("1")!.ended).toMatchObject({ kind: "cancelled" }));
    expect((await heard).at(-1)).toMatchObject({ name: "error", data: { status: 499 } });
    await eventually(() => expect(tickets()).toBe(0));
  });

  it("that no node hears of holds all the same", async () => {
    await accept(a!);
    await drawing(first!);
    fleet.network.drops = (subject) => subject === fleet.layout.cancel;
    await b!.queue.cancel(ref("1"));
    first!.jobs.succeed("1", [image]);
    await isEnded();
    expect(await a!.queue.status(ref("1"))).toMatchObject({ result: { error: { code: "cancelled" } } });
    await eventually(() => expect(tickets()).toBe(0));
  });

  it("that comes while the request ends changes nothing", async () => {
    await accept(a!);
    await drawing(first!);
    first!.jobs.succeed("1");
    await isEnded();
    expect(await b!.queue.cancel(ref("1"))).toBe("ended_before");
    expect(await a!.queue.response(ref("1"))).toMatchObject({ status: 200 });
  });
});

describe("a node that dies", () => {
  it("is certified dead by one gateway, which gives its work to others: same seed, one end", async () => {
    await accept(a!);
    await drawing(first!, "1", 3);
    for (const gateway of [a!, b!]) gateway.mourn(first!);
    await eventually(async () => expect(await second!.pull()).toBe(true));
    await eventually(() => expect(second!.jobs.byId.get("1")?.seed).toBe(7));
    expect(await fleet.store.find("1")).toMatchObject({ attempts: 2, holder: "second-1@second" });
    // Nobody takes it from its new holder: it was given back once.
    expect(await fleet.node("third").pull()).toBe(false);
    second!.jobs.start("1");
    second!.jobs.succeed("1");
    await isEnded();
    await eventually(() => expect(tickets()).toBe(0));
  });

  it("and wakes up ends nothing, leaves no file, and leaves the ticket to its new holder", async () => {
    await a!.queue.accept(submission("1"), { ...input, sync_mode: false });
    await a!.queue.close();
    await drawing(first!);
    a!.mourn(first!);
    await eventually(async () => expect(await second!.pull()).toBe(true));
    second!.jobs.start("1");
    first!.jobs.succeed("1", [image]);
    await new Promise((resolve) => setTimeout(resolve, 50));
    expect(await a!.queue.status(ref("1"))).toMatchObject({ kind: "running" });
    expect(tickets()).toBe(1);
    second!.jobs.succeed("1", [{ ...image, bytes: Buffer.from("of the second") }]);
    await isEnded();
    const { image: served } = JSON.parse(String((await a!.queue.response(ref("1")))!.body));
    const key = served.url.split("/").at(-1);
    expect((await (await fleet.objects.open(key)).toArray()).join("")).toBe("of the second");
    await eventually(() => expect(tickets()).toBe(0));
  });

  it("and finds that out drops everything without touching the tickets", async () => {
    await accept(a!);
    await drawing(first!);
    a!.mourn(first!);
    await eventually(async () => expect(await second!.pull()).toBe(true));
    second!.jobs.start("1");
    await first!.durable.renew();
    await first!.durable.close();
    expect(first!.jobs.byId.get("1")!.ended).toMatchObject({ kind: "cancelled" });
    expect(tickets()).toBe(1);
    expect(await second!.pull()).toBe(false);
    second!.jobs.succeed("1");
    await isEnded();
  });

  it("only seemingly, keeps its claims", async () => {
    await accept(a!);
    await drawing(first!);
    await first!.durable.renew();
    first!.jobs.succeed("1");
    await isEnded();
    expect(await fleet.store.find("1")).toMatchObject({ attempts: 1 });
  });

  it("in an orderly way hands back what it has not begun, and the attempt does not count", async () => {
    await accept(a!);
    expect(await first!.pull()).toBe(true);
    first!.durable.handBack();
    await first!.durable.close();
    expect(await fleet.store.find("1")).toMatchObject({ attempts: 0, holder: null });
    await drawing(second!);
    second!.jobs.succeed("1");
    await isEnded();
  });
});

describe("the reconciler", () => {
  const later = (): number => performance.now() + 60_000;

  it("makes the ticket of a waiting request again, once, however many gateways look", async () => {
    await accept(a!);
    await a!.bus.purge(fleet.layout.streams.tickets, ">");
    await eventually(() => expect(b!.map.get("1")).toBeDefined());
    await Promise.all([a!, b!].map(({ reconciler }) => reconciler.sweep(later())));
    expect(tickets()).toBe(1);
    await Promise.all([a!, b!].map(({ reconciler }) => reconciler.sweep(later())));
    expect(tickets()).toBe(1);
    await drawing(first!);
    first!.jobs.succeed("1");
    await isEnded();
  });

  it("makes the ticket of a dead node's request again, and leaves that of a living one alone", async () => {
    await accept(a!);
    await drawing(first!);
    await a!.bus.purge(fleet.layout.streams.tickets, ">");
    await eventually(() => expect(a!.map.get("1")?.kind).toBe("running"));
    await a!.reconciler.sweep(later());
    expect(tickets()).toBe(0);
    a!.mourn(first!);
    await eventually(async () => {
      await a!.reconciler.sweep(later());
      expect(tickets()).toBe(1);
    });
    await drawing(second!);
    second!.jobs.succeed("1");
    await isEnded();
    expect(await fleet.store.find("1")).toMatchObject({ attempts: 2 });
  });

  it("leaves alone what has only just changed", async () => {
    await accept(a!);
    await a!.bus.purge(fleet.layout.streams.tickets, ">");
    await a!.reconciler.sweep();
    expect(tickets()).toBe(0);
  });

  it("ends a request that was not begun in time", async () => {
    await accept(a!, "1", { startTimeoutMs: 1 });
    await eventually(() => expect(a!.map.get("1")).toBeDefined());
    await Promise.all([a!, b!].map(({ reconciler }) => reconciler.endLate(Date.now() + 10)));
    await isEnded();
    expect(await b!.queue.status(ref("1"))).toMatchObject({ result: { error: { code: "request_timeout" } } });
  });
});
