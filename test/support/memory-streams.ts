/** A fleet's network in memory, opened as the contract suites open one. */
import { Layout, type LayoutOptions } from "../../src/cluster/layout.ts";
import type { BusUnderTest } from "../contract/bus.ts";
import { MemoryNetwork } from "./memory-bus.ts";

export interface MemoryStreams extends BusUnderTest {
  readonly network: MemoryNetwork;
}

export function openMemoryStreams(options?: LayoutOptions): Promise<MemoryStreams> {
  const layout = new Layout(options);
  const network = new MemoryNetwork(layout);
  return Promise.resolve({
    layout,
    network,
    connect: () => Promise.resolve(network.connect()),
    [Symbol.asyncDispose]: () => Promise.resolve(),
  });
}
