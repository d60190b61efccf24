import { describe } from "vitest";
import { Layout } from "../../../src/cluster/layout.ts";
import { busContract } from "../../contract/bus.ts";
import { MemoryNetwork } from "../../support/memory-bus.ts";

describe("the bus in memory", () => {
  busContract((options) => {
    const layout = new Layout(options);
    const network = new MemoryNetwork(layout);
    return Promise.resolve({
      layout,
      connect: () => Promise.resolve(network.connect()),
      [Symbol.asyncDispose]: () => Promise.resolve(),
    });
  }, 200);
});
