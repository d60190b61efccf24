/** Queued requests of several pools, in memory: each waits in the queue of its pool, and is drawn by that pool's nodes. */
import { afterEach, beforeEach, expect, it } from "vitest";
import type { RequestRef } from "../../../src/requests/submission.ts";
import { generateInput } from "../../../src/schema/input.ts";
import { request } from "../../contract/store-under-test.ts";
import { eventually } from "../../support/eventually.ts";
import { memoryFleet, type MemoryFleet, type MemoryGateway } from "../../support/memory-request-fleet.ts";

let fleet: MemoryFleet;
let [a, b]: MemoryGateway[] = [];
beforeEach(async () => {
  fleet = await memoryFleet();
  [a, b] = [await fleet.gateway("a"), await fleet.gateway("b")];
});
afterEach(() => fleet[Symbol.asyncDispose]());

const ref = (id: string): RequestRef => ({ id, owner: null });
const later = (): number => performance.now() + 60_000;

/** Models are called as their pools. The ticket is in the queue then. */
async function accept(gateway: MemoryGateway, id: string, model?: string, startTimeoutMs?: number): Promise<number> {
  const { app, dialect, baseUrl, priority, webhookUrl, traceparent } = request(id);
  const submission = { ...ref(id), app, dialect, baseUrl, priority, webhookUrl, traceparent, startTimeoutMs };
  const ahead = await gateway.queue.accept(submission, generateInput.parse({ prompt: "x", seed: 7, model }));
  await gateway.queue.close();
  return ahead;
}

const ticketSubjects = (): string[] =>
  fleet.network.stream(fleet.layout.streams.tickets).messages.map(({ subject }) => subject);

it("a request is drawn by a node of the pool whose model it names", async () => {
  const [small, large] = [fleet.node("small"), fleet.node("large", { pool: "big" })];
  await accept(a!, "1", "big");
  await accept(a!, "2");
  expect([await small.pull(), await small.pull(), await large.pull()]).toEqual([true, false, true]);
  expect([[...small.jobs.byId.keys()], [...large.jobs.byId.keys()]]).toEqual([["2"], ["1"]]);
  large.jobs.start("1");
  large.jobs.succeed("1");
  await eventually(async () => expect(await b!.queue.status(ref("1"))).toMatchObject({ kind: "ended" }));
});

it("its place is counted among those of its pool, on every gateway", async () => {
  expect([await accept(a!, "1"), await accept(a!, "2"), await accept(a!, "3", "big")]).toEqual([0, 1, 0]);
  await eventually(async () => {
    expect(await b!.queue.status(ref("2"))).toMatchObject({ position: 1 });
    expect(await b!.queue.status(ref("3"))).toMatchObject({ position: 0 });
  });
});

it("of a pool without a node it waits, says why, and ends when it was not begun in time", async () => {
  fleet.node("small");
  await accept(a!, "1", "big", 1);
  await accept(a!, "2");
  const reason = "no node of pool big";
  await eventually(async () => expect(await b!.queue.status(ref("1"))).toMatchObject({ kind: "queued", reason }));
  expect(await a!.queue.status(ref("2"))).not.toHaveProperty("reason");
  await eventually(() => expect(b!.map.get("1")).toBeDefined());
  await eventually(async () => {
    await b!.reconciler.endLate(Date.now() + 10);
    expect(await a!.queue.status(ref("1"))).toMatchObject({ result: { error: { code: "request_timeout" } } });
  });
});

it("a ticket that was lost is made again for the same pool, and a cancelled one is never drawn", async () => {
  const large = fleet.node("large", { pool: "big" });
  await accept(a!, "1", "big");
  await accept(a!, "2", "big");
  await a!.bus.purge(fleet.layout.streams.tickets, ">");
  await eventually(() => expect(b!.map.get("2")).toBeDefined());
  expect(await b!.queue.cancel(ref("2"))).toBe("removed");
  await eventually(() => expect(b!.map.get("2")).toBeUndefined());
  await b!.reconciler.sweep(later());
  expect(ticketSubjects()).toEqual([fleet.layout.ticket("big", "n", "1")]);
  expect([await large.pull(), await large.pull()]).toEqual([true, false]);
  expect([...large.jobs.byId.keys()]).toEqual(["1"]);
});

it("a ticket in the queue of another pool is thrown away: a node draws its own pool's requests only", async () => {
  const [small, large] = [fleet.node("small"), fleet.node("large", { pool: "big" })];
  await accept(a!, "1", "big");
  const { header } = fleet.network.stream(fleet.layout.streams.tickets).messages[0]!;
  const subject = fleet.layout.ticket("default", "n", "1");
  await a!.bus.put(fleet.layout.streams.tickets, subject, header, Buffer.alloc(0), { id: "wrong" });
  expect(await small.pull()).toBe(true);
  await eventually(() => expect(ticketSubjects()).toEqual([fleet.layout.ticket("big", "n", "1")]));
  expect(await large.pull()).toBe(true);
  expect([small.jobs.byId.size, large.jobs.byId.size]).toEqual([0, 1]);
});

it("a record of an earlier version names no pool: its request is drawn by the gateway's own", async () => {
  await fleet.store.accept(request("1"));
  await eventually(() => expect(a!.map.get("1")).toMatchObject({ pool: "default" }));
  await a!.reconciler.sweep(later());
  expect(ticketSubjects()).toEqual([fleet.layout.ticket("default", "n", "1")]);
});
