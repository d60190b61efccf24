/** What a fleet keeps, in the streams of its servers: the same for every process of it. */
import type { Bus } from "../cluster/bus.ts";
import { FleetObjectStore } from "../cluster/storage/file-store.ts";
import type { FleetRequestStore } from "../cluster/storage/fleet-requests.ts";
import type { Layout } from "../cluster/layout.ts";
import { FleetStateStore } from "../cluster/storage/state-store.ts";
import type { Storage } from "../storage/open.ts";

export interface FleetStorage extends Storage {
  readonly requests: FleetRequestStore;
}

/** Of a gateway, for files that several clients read. */
export const FILE_CACHE_BYTES = 64 * 2 ** 20;

/** @param cacheBytes Of files that were read lately. */
export function openFleetStorage(
  { bus, layout }: { readonly bus: Bus; readonly layout: Layout },
  { resultTtlMs: keepMs }: { readonly resultTtlMs: number },
  cacheBytes = 0,
): FleetStorage {
  return {
    requests: new FleetStateStore({ bus, layout, keepMs }),
    objects: new FleetObjectStore({ bus, layout, keepMs, cacheBytes }),
    // The connection is closed by who opened it.
    close: () => Promise.resolve(),
  };
}
