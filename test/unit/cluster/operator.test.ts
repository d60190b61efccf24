import { describe, expect, it } from "vitest";
import { Layout } from "../../../src/cluster/layout.ts";
import { look } from "../../../src/cluster/operator/operator.ts";
import { sharedNames, type PoolStatus } from "../../../src/cluster/operator/pool-status.ts";
import { MemoryNetwork } from "../../support/memory-bus.ts";

const layout = new Layout();

it("servers without a majority are one problem, told once, and nothing more is asked", async () => {
  const network = new MemoryNetwork(layout);
  network.hasMajority = false;
  network.patienceMs = 5;
  const { problems, streams, pools } = await look(network.connect(), layout, "default", []);
  expect(problems).toEqual([
    expect.stringMatching(/^stream LC_STATE: the NATS servers do not answer, or have no majority; /),
  ]);
  expect([streams, pools]).toEqual([{}, {}]);
});

it("servers that answer are asked about everything", async () => {
  const bus = new MemoryNetwork(layout).connect();
  const { problems, streams, pools, requests } = await look(bus, layout, "default", []);
  expect(problems).toEqual([]);
  expect(Object.keys(streams)).toEqual(Object.values(layout.streams));
  expect(pools).toMatchObject({ default: { waiting: 0, taken: 0 } });
  expect(requests).toEqual({ queued: 0, running: 0, ended: 0 });
});

describe("pools with models of one name", () => {
  const pool = (model: string | null, nodes = 1): PoolStatus => ({ model, nodes, waiting: 0, taken: 0 });
  const pools = { big: pool("xl"), anime: pool("xl", 0), default: pool("small"), fresh: pool(null), other: pool(null) };

  it.each([
    ["the gateways' own", ["anime"], "anime"],
    ["the first by name that has a node", ["default"], "big"],
    ["one or the other", ["anime", "big"], "anime or big, by the gateway's own pool"],
  ])("are named, with the one that gets the requests: %s", (_which, own, taker) => {
    const said = sharedNames(pools, own);
    expect(said).toHaveLength(1);
    expect(said[0]).toContain(
      `pools anime, big have models of one name, "xl": requests that name it go to ${taker}. Give the others'`,
    );
  });

  it("are none where each has its own", () => {
    expect(sharedNames({ ...pools, anime: pool("line") }, ["default"])).toEqual([]);
  });
});
