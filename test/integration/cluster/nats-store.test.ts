import { describe } from "vitest";
import { objectStoreContract } from "../../contract/object-store.ts";
import { requestStoreContract } from "../../contract/request-store.ts";
import { natsClusterForThisFile } from "../../support/nats-cluster.ts";
import { openNatsFleet } from "../../support/nats-fleet.ts";
import { openFleetStore } from "../../support/nats-store.ts";

// Each test has streams of its own, and waits for most of its time.
describe.concurrent("the stores of a fleet, over NATS", () => {
  const cluster = natsClusterForThisFile();
  const open = (options: Parameters<typeof openNatsFleet>[1]) => openNatsFleet(cluster(), options);

  describe("requests", () => {
    requestStoreContract((options = {}) => openFleetStore(open, options, { hookAckWaitMs: 3_000 }));
  });
  describe("objects", () => {
    objectStoreContract((options = {}) => openFleetStore(open, options));
  });
});
