import { expect, it, vi } from "vitest";
import { ServerReadings } from "../../../src/cluster/fleet/server-readings.ts";
import { Layout } from "../../../src/cluster/layout.ts";
import { MemoryNetwork } from "../../support/memory-bus.ts";
import { useMovingTime } from "../../support/moving-time.ts";

useMovingTime(100);

const layout = new Layout();
const { state } = layout.streams;

it("servers are read as they are, once for all who ask at the same moment", async () => {
  const network = new MemoryNetwork(layout);
  const bus = network.connect();
  const fill = vi.spyOn(bus, "fill");
  await bus.put(state, layout.state("a"), {}, Buffer.alloc(100), { id: "1" });
  const readings = new ServerReadings({ bus, streams: [state] });
  const [one, other] = await Promise.all([readings.read(), readings.read()]);
  expect(one).toBe(other);
  expect(fill).toHaveBeenCalledTimes(1);
  expect(one).toMatchObject({ roundTripSeconds: 0, streams: [{ stream: state, awayServers: 0 }] });
  expect(one.streams[0]!.bytes).toBeGreaterThan(100);
});

it("servers that do not answer hold nobody up", async () => {
  const network = new MemoryNetwork(layout);
  const bus = network.connect();
  const readings = new ServerReadings({ bus, streams: [state] });
  network.hasMajority = false;
  const reading = readings.read();
  await vi.advanceTimersByTimeAsync(2_000);
  expect(await reading).toMatchObject({ roundTripSeconds: 0, streams: [] });
  bus.isConnected = false;
  expect(await readings.read()).toEqual({ roundTripSeconds: undefined, streams: [] });
});
