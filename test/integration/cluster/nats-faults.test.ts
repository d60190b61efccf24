import { describe, expect, it } from "vitest";
import type { NatsBus } from "../../../src/cluster/nats/bus.ts";
import type { FleetStateStore } from "../../../src/cluster/storage/state-store.ts";
import { LatentcastError } from "../../../src/errors.ts";
import { Conflict } from "../../../src/storage/request-store.ts";
import { ended, request } from "../../contract/store-under-test.ts";
import { eventually } from "../../support/eventually.ts";
import { natsClusterForThisFile, type NatsServerProcess } from "../../support/nats-cluster.ts";
import { openNatsFleet, type NatsFleet } from "../../support/nats-fleet.ts";
import { openFleetStore } from "../../support/nats-store.ts";

const LEASE_MS = 600_000;
const PATIENCE_MS = 90_000;
/** What an accepted request has to survive, and how the server comes back. */
const FAULTS: readonly (readonly [
  string,
  (server: NatsServerProcess) => Promise<void>,
  (server: NatsServerProcess) => void,
])[] = [
  ["is killed", (server) => server.kill(), (server) => server.start()],
  [
    "is frozen",
    (server) => {
      server.freeze();
      return Promise.resolve();
    },
    (server) => server.thaw(),
  ],
  ["is stopped in order", (server) => server.stop(), (server) => server.start()],
];

/** A client that comes again while the servers do not answer. True when this call, or one before it, has counted. */
async function insisting<Value>(work: () => Promise<Value>): Promise<Value | "before"> {
  return eventually(async () => {
    try {
      return await work();
    } catch (error) {
      if (error instanceof Conflict) return "before" as const;
      if (error instanceof LatentcastError && error.code === "overloaded") throw error;
      throw new Unexpected("the store failed", { cause: error });
    }
  }, PATIENCE_MS);
}

class Unexpected extends Error {}

describe("the store of a fleet's requests, while a NATS server", { timeout: 240_000 }, () => {
  const cluster = natsClusterForThisFile();

  it.each(FAULTS)("%s: nothing that was accepted is lost, and each request ends once", async (_, fault, repair) => {
    await using store = await openFleetStore((options) => openNatsFleet(cluster(), options), {});
    const stores: FleetStateStore[] = [store.requests, await store.another()];
    const { state } = store.fleet.layout.streams;
    const watching = new AbortController();
    const seen = new Map<string, string>();
    const watched = (async (): Promise<void> => {
      for await (const each of stores[1]!.watch(watching.signal))
        if (each !== "caught-up") seen.set(each.id, each.kind);
    })();

    const hit = await cluster().leader(state);
    let wins = 0;
    const ids = Array.from({ length: 24 }, (_each, index) => String(index));
    for (const [index, id] of ids.entries()) {
      if (index === 6) await fault(hit);
      await insisting(() => stores[index % 2]!.accept(request(id)));
      const claim = await insisting(() => stores[0]!.claim(id, "1@node", LEASE_MS));
      const ends = await Promise.all([
        insisting(async () => typeof claim !== "string" && stores[0]!.end(claim, ended(1))),
        insisting(() => stores[1]!.cancel(id, ended(2))),
      ]);
      wins += ends.filter((isFirst) => isFirst === true).length;
      if (index === 18) repair(hit);
    }
    await cluster().ready();

    for (const id of ids) {
      const found = await insisting(() => stores[0]!.find(id));
      expect(found, id).toMatchObject({ result: { error: null } });
    }
    // A caller that was told nothing in time may have won without hearing of it; nobody hears of two.
    expect(wins).toBeLessThanOrEqual(ids.length);
    await eventually(() => expect([...seen.values()]).toEqual(ids.map(() => "ended")), PATIENCE_MS);
    expect([...seen.keys()].toSorted()).toEqual(ids.toSorted());
    watching.abort();
    await watched;
  });

  it("and another are away: new requests are refused, messages go on, and all is there when they are back", async () => {
    let fleet: NatsFleet | undefined;
    const open = async (options: Parameters<typeof openNatsFleet>[1]): Promise<NatsFleet> =>
      (fleet = await openNatsFleet(cluster(), options));
    await using store = await openFleetStore(open, {});
    const ids = ["1", "2", "3"];
    for (const id of ids) await store.requests.accept(request(id));
    const left = cluster().urls.slice(0, 1);
    const [one, other]: [NatsBus, NatsBus] = [await fleet!.connect(left), await fleet!.connect(left)];
    other.subscribe("preview", ({ reply }) => reply({ seen: true }));
    await Promise.all([cluster().server(1).kill(), cluster().server(2).kill()]);
    await expect(store.requests.accept(request("4"))).rejects.toMatchObject({
      code: "overloaded",
      retryAfterSeconds: 5,
    });
    const answer = await eventually(() => one.request("preview", {}, { timeoutMs: 2_000 }), PATIENCE_MS);
    expect(answer.header).toEqual({ seen: true });
    for (const index of [1, 2]) cluster().server(index).start();
    await cluster().ready();
    for (const id of ids) expect(await insisting(() => store.requests.find(id))).toMatchObject({ attempts: 0 });
    await insisting(() => store.requests.accept(request("5")));
  });
});
