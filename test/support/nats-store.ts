/** The stores of a fleet on any bus, with a clock that tests move. */
import { FleetObjectStore } from "../../src/cluster/storage/file-store.ts";
import { FleetStateStore } from "../../src/cluster/storage/state-store.ts";
import type { Bus } from "../../src/cluster/bus.ts";
import type { LayoutOptions } from "../../src/cluster/layout.ts";
import type { BusUnderTest } from "../contract/bus.ts";
import type { StoreOptions, StoreUnderTest } from "../contract/store-under-test.ts";

/** Far longer than a test takes: servers count the seconds themselves. */
const KEEP_MS = 600_000;

export interface FleetStoreUnderTest extends StoreUnderTest {
  readonly fleet: BusUnderTest;
  readonly requests: FleetStateStore;
  /** Of another process. */
  another(): Promise<FleetStateStore>;
}

/** @param hookAckWaitMs After which a webhook is delivered again whose gateway has died. */
export async function openFleetStore(
  open: (options: LayoutOptions) => Promise<BusUnderTest>,
  { limitBytes = 2 ** 26 }: StoreOptions,
  layoutOptions: LayoutOptions = {},
): Promise<FleetStoreUnderTest> {
  const fleet = await open({ filesBytes: limitBytes, inputBytes: limitBytes, stateBytes: 2 ** 26, ...layoutOptions });
  let nowMs = Date.now();
  const process = async (): Promise<{ bus: Bus; requests: FleetStateStore; objects: FleetObjectStore }> => {
    const bus = await fleet.connect();
    const options = { bus, layout: fleet.layout, keepMs: KEEP_MS, now: () => nowMs };
    return {
      bus,
      requests: new FleetStateStore(options),
      objects: new FleetObjectStore({ ...options, cacheBytes: 2 ** 22 }),
    };
  };
  let alive = await process();
  return {
    fleet,
    keepMs: KEEP_MS,
    get requests() {
      return alive.requests;
    },
    get objects() {
      return alive.objects;
    },
    another: async () => (await process()).requests,
    advance: (ms) => {
      nowMs += ms;
    },
    // For the servers there is no difference: what is theirs is theirs.
    restart: async () => {
      await alive.bus.close();
      alive = await process();
    },
    [Symbol.asyncDispose]: () => fleet[Symbol.asyncDispose](),
  };
}
