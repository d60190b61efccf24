import { expect, it } from "vitest";
import { Layout } from "../../../src/cluster/layout.ts";
import { look } from "../../../src/cluster/operator/operator.ts";
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
