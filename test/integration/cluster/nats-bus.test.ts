import { describe } from "vitest";
import { busContract } from "../../contract/bus.ts";
import { natsClusterForThisFile } from "../../support/nats-cluster.ts";
import { openNatsFleet } from "../../support/nats-fleet.ts";

// Each test has streams of its own, and waits for most of its time.
describe.concurrent("the bus over NATS", () => {
  const cluster = natsClusterForThisFile();

  busContract((options) => openNatsFleet(cluster(), options), 4_000);
});
