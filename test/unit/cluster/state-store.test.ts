import { describe, expect, it } from "vitest";
import type { Header } from "../../../src/cluster/bus.ts";
import type { LayoutOptions } from "../../../src/cluster/layout.ts";
import type { Claim } from "../../../src/storage/request-store.ts";
import { ended, request } from "../../contract/store-under-test.ts";
import { eventually } from "../../support/eventually.ts";
import { openMemoryStreams, type MemoryStreams } from "../../support/memory-streams.ts";
import { openFleetStore, type FleetStoreUnderTest } from "../../support/nats-store.ts";

const LEASE_MS = 1_000;
const EMPTY = Buffer.alloc(0);
const hooked = { webhookUrl: "http://hook/" };

async function openStore(options: LayoutOptions = {}): Promise<FleetStoreUnderTest & { fleet: MemoryStreams }> {
  const fleet = await openMemoryStreams({ hookAckWaitMs: 200, ...options });
  return { ...(await openFleetStore(() => Promise.resolve(fleet), {})), fleet };
}

function claimed(claim: Claim | string): Claim {
  if (typeof claim === "string") throw new Error(claim);
  return claim;
}

/** The next write counts, and its caller hears nothing of it. */
async function unanswered({ network }: MemoryStreams, write: () => Promise<unknown>): Promise<void> {
  const { patienceMs } = network;
  network.patienceMs = 20;
  network.repliesToEat = Number.POSITIVE_INFINITY;
  await expect(write()).rejects.toMatchObject({ code: "overloaded" });
  network.patienceMs = patienceMs;
  network.repliesToEat = 0;
}

describe("the store of a fleet's requests", () => {
  it("knows who won when the replies to all its writes are lost", async () => {
    const { fleet, requests, another } = await openStore();
    const other = await another();
    for (let round = 0; round < 200; round += 1) {
      const id = String(round);
      fleet.network.repliesToEat = 1;
      await requests.accept(request(id));
      fleet.network.repliesToEat = 2;
      const claims = await Promise.all([requests, other].map((store) => store.claim(id, "x", LEASE_MS)));
      expect(claims.filter((claim) => claim === "held")).toHaveLength(1);
      const [winner] = claims.filter((claim) => typeof claim !== "string");
      fleet.network.repliesToEat = 2;
      const results = await Promise.all([requests.end(winner!, ended(1)), other.cancel(id, ended(2))]);
      expect(results.filter((isFirst) => isFirst)).toHaveLength(1);
      expect((await requests.ended(id))?.body).toEqual(ended(results[0] ? 1 : 2).body);
    }
  });

  it("knows who won when a leader that was suspended refuses what its successor takes, and shows what was before", async () => {
    const { fleet, requests } = await openStore();
    await requests.accept(request("1"));
    fleet.network.oldLeader = { reads: 1 };
    const claim = claimed(await requests.claim("1", "x", LEASE_MS));
    expect(claim.attempt).toBe(1);
    fleet.network.oldLeader = { reads: 1 };
    const renewed = claimed(await requests.renew(claim, LEASE_MS));
    fleet.network.oldLeader = { reads: 1 };
    expect(await requests.end(renewed, ended(1))).toBe(true);
    expect((await requests.ended("1"))?.body).toEqual(ended(1).body);
  });

  it("gives a claim that was won and never answered to its winner, as the same attempt", async () => {
    const { fleet, requests, another } = await openStore();
    await requests.accept(request("1"));
    await unanswered(fleet, () => requests.claim("1", "x", LEASE_MS));
    expect(await (await another()).claim("1", "y", LEASE_MS)).toBe("held");
    expect(claimed(await requests.claim("1", "x", LEASE_MS)).attempt).toBe(1);
    // Only once: from then on it is one that was given.
    expect(await requests.claim("1", "x", LEASE_MS)).toBe("held");
  });

  it("ends, renews and releases by a claim whose last renewals were never answered", async () => {
    const { fleet, requests } = await openStore();
    for (const id of ["1", "2", "3"]) {
      await requests.accept(request(id));
      const claim = claimed(await requests.claim(id, "x", LEASE_MS));
      await unanswered(fleet, () => requests.renew(claim, LEASE_MS));
      if (id === "1") expect(await requests.end(claim, ended(1))).toBe(true);
      if (id === "2") expect(await requests.end(claimed(await requests.renew(claim, LEASE_MS)), ended(1))).toBe(true);
      if (id === "3") await requests.release(claim);
    }
    expect(await requests.find("3")).toMatchObject({ attempts: 0, holder: null });
  });

  it("does not take the write of another for an unanswered one of its own", async () => {
    const { fleet, requests, another } = await openStore();
    await requests.accept(request("1"));
    const claim = claimed(await requests.claim("1", "x", LEASE_MS));
    await unanswered(fleet, () => requests.renew(claim, LEASE_MS));
    const other = await another();
    const taken = claimed(await other.claim("1", "y", LEASE_MS, "x"));
    expect(await requests.end(claim, ended(1))).toBe(false);
    expect(await requests.renew(claim, LEASE_MS)).toBe("lost");
    expect(await other.end(taken, ended(2))).toBe(true);
  });

  it("refuses new requests when it is four fifths full, and still ends those that it has", async () => {
    const { requests } = await openStore({ stateBytes: 300_000 });
    const large = { warnings: ["x".repeat(20_000)] };
    const ids: string[] = [];
    const accept = async (): Promise<void> => {
      for (let id = 1; id < 100; id += 1) {
        await requests.accept(request(String(id), large));
        ids.push(String(id));
      }
    };
    await expect(accept()).rejects.toMatchObject({ code: "storage_full" });
    expect(ids.length).toBeGreaterThan(10);
    for (const id of ids) expect(await requests.cancel(id, ended(1, 1_000))).toBe(true);
    for (const id of ids) expect((await requests.ended(id))?.body).toEqual(ended(1, 1_000).body);
    await requests.expire();
    await requests.accept(request("100", large));
  });

  it("ends requests even when it was filled to the brim, at the cost of the oldest ends", async () => {
    const { requests, fleet } = await openStore({ stateBytes: 200_000 });
    const { layout } = fleet;
    const bus = await fleet.connect();
    await requests.accept(request("1"), ended(1, 20_000));
    await requests.accept(request("2"), ended(2, 20_000));
    await requests.accept(request("3"));
    const claim = await requests.claim("3", "x", LEASE_MS);
    if (typeof claim === "string") throw new Error(claim);
    const { bytes } = await bus.fill(layout.streams.state);
    await bus.put(layout.streams.state, layout.pool("x"), {}, Buffer.alloc(200_000 - bytes - 200), { id: "brim" });
    expect(await requests.end(claim, ended(3, 10_000))).toBe(true);
    expect((await requests.ended("3"))?.body).toEqual(ended(3, 10_000).body);
    expect(await requests.find("1")).toBeUndefined();
  });

  it("says `overloaded`, and when to come again, while the servers have no majority", async () => {
    const { requests, fleet } = await openStore();
    await requests.accept(request("1"));
    fleet.network.hasMajority = false;
    fleet.network.patienceMs = 20;
    const refused = { code: "overloaded", status: 503, retryAfterSeconds: 5 };
    await expect(requests.accept(request("2"))).rejects.toMatchObject(refused);
    await expect(requests.find("1")).rejects.toMatchObject(refused);
    fleet.network.hasMajority = true;
    expect(await requests.find("1")).toBeDefined();
  });

  it("removes inputs that a dead process left, and none that are needed", async () => {
    const { requests, fleet } = await openStore();
    const { inputs } = fleet.layout.streams;
    const bus = await fleet.connect();
    const files = { image: Buffer.alloc(1_000), mask: null };
    await requests.accept(request("1"), undefined, files);
    await requests.accept(request("2", hooked), ended(2, 100_000));
    const needed = (await bus.fill(inputs)).messages;
    const orphan = fleet.layout.inputParts.part("gone~1", "attempt", 1);
    await bus.put(inputs, orphan, { v: 1 }, Buffer.alloc(10), { id: "orphan" });
    await requests.sweep(0);
    expect((await bus.fill(inputs)).messages).toBe(needed + 1);
    await requests.sweep(Number.POSITIVE_INFINITY);
    expect((await bus.fill(inputs)).messages).toBe(needed);
    expect(await requests.inputFiles("1")).toEqual(files);
    expect((await requests.ended("2"))?.body).toEqual(ended(2, 100_000).body);
  });

  it("keeps a large response where nothing gives way until its webhook is delivered, and then as others", async () => {
    const { requests, fleet } = await openStore();
    const { files, inputs } = fleet.layout.streams;
    const bus = await fleet.connect();
    const count = async (stream: string): Promise<number> => (await bus.fill(stream)).messages;
    await requests.accept(request("1", hooked), ended(1, 100_000));
    expect([await count(inputs), await count(files)]).toEqual([1, 0]);
    await requests.settleWebhook((await requests.nextWebhook(new AbortController().signal))!, null);
    expect([await count(inputs), await count(files)]).toEqual([0, 1]);
    expect((await requests.ended("1"))?.body).toEqual(ended(1, 100_000).body);
  });

  it("makes the message of a due webhook again when it is gone, once", async () => {
    const { requests, another, fleet } = await openStore();
    const bus = await fleet.connect();
    const { streams, hook } = fleet.layout;
    await requests.accept(request("1", hooked), ended(1));
    await requests.accept(request("2"), ended(1));
    await requests.remindOfWebhook("1");
    expect((await bus.fill(streams.hooks)).messages).toBe(1);
    await bus.purge(streams.hooks, hook("1"));
    const stores = [requests, await another(), await another()];
    await Promise.all(stores.flatMap((store) => ["1", "2", "3"].map((id) => store.remindOfWebhook(id))));
    expect((await bus.fill(streams.hooks)).messages).toBe(1);
    expect(await requests.nextWebhook(new AbortController().signal)).toMatchObject({ id: "1" });
  });

  it("lets one caller count a ticket, and only as long as nothing has changed", async () => {
    const { requests, another } = await openStore();
    await requests.accept(request("1"));
    const stop = new AbortController();
    const seen: unknown[] = [];
    const watching = (async () => {
      for await (const state of requests.watch(stop.signal)) seen.push(state);
    })();
    await eventually(() => expect(seen).toContain("caught-up"));
    const { revision } = seen[0] as { revision: number };
    const counts = await Promise.all([requests, await another()].map((store) => store.countTicket("1", revision)));
    expect(new Set(counts)).toEqual(new Set([2, undefined]));
    await requests.claim("1", "3@node", LEASE_MS);
    expect(await requests.countTicket("1", revision)).toBeUndefined();
    await requests.cancel("1", ended(1));
    await eventually(() =>
      expect(seen).toMatchObject([
        { id: "1", kind: "queued", tickets: 1, holder: null },
        "caught-up",
        { kind: "queued", tickets: 2 },
        { kind: "running", holder: "3@node" },
        { kind: "ended", holder: null, isHookDue: false },
      ]),
    );
    stop.abort();
    await watching;
  });

  it("reads no record that another program wrote, and changes nothing about it", async () => {
    const { requests, fleet } = await openStore();
    const bus = await fleet.connect();
    const sequence = await bus.put(fleet.layout.streams.state, fleet.layout.state("1"), { v: 2 }, EMPTY, { id: "x" });
    await expect(requests.find("1")).rejects.toThrow("a stored record cannot be read");
    await expect(requests.cancel("1", ended(1))).rejects.toThrow("a stored record cannot be read");
    expect((await bus.get(fleet.layout.streams.state, fleet.layout.state("1")))?.sequence).toBe(sequence);
  });

  it("sees past a record of another version: those behind it are watched, begun and made room of", async () => {
    const { requests, fleet } = await openStore();
    const bus = await fleet.connect();
    const { streams, state } = fleet.layout;
    await requests.accept(request("1"), undefined, { image: Buffer.alloc(100_000), mask: null });
    const stored = (await bus.get(streams.state, state("1")))!;
    const later = { ...(stored.header as Header), v: 2 };
    await bus.put(streams.state, state("1"), later, stored.payload, { id: "later" });
    await requests.accept(request("2"));
    const seen: string[] = [];
    for await (const each of requests.watch(AbortSignal.timeout(20_000))) {
      if (each === "caught-up") break;
      seen.push(each.id);
    }
    expect(seen).toEqual(["2"]);
    const unfinished: string[] = [];
    for await (const each of requests.unfinished()) unfinished.push(each.request.id);
    expect(unfinished).toEqual(["2"]);
    const kept = async (): Promise<number> => (await bus.fill(streams.inputs)).messages;
    const before = await kept();
    await requests.sweep(Number.POSITIVE_INFINITY);
    expect([before > 0, await kept()]).toEqual([true, before]);
  });
});
