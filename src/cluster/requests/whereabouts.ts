/** What is known of a process that has a claim. */
import type { Bus } from "../bus.ts";
import { isCertified } from "./deaths.ts";
import { ownerOf } from "../storage/fleet-requests.ts";
import type { Fleet } from "../fleet/fleet.ts";
import type { Layout } from "../layout.ts";

/** Certified dead; or alive and saying that it works on the request; or neither. */
export type Whereabouts = "dead" | "holding" | "idle" | "silent";

export interface WhereaboutsOptions {
  readonly bus: Bus;
  readonly layout: Layout;
  readonly fleet: Pick<Fleet, "nodes">;
}

export async function whereabouts(
  { bus, layout, fleet }: WhereaboutsOptions,
  holder: string,
  id: string,
): Promise<Whereabouts> {
  if (await isCertified(bus, layout, holder)) return "dead";
  const owner = ownerOf(holder);
  const beat = fleet.nodes.find(({ name, incarnation }) => name === owner?.node && incarnation === owner.incarnation);
  if (beat === undefined) return "silent";
  return beat.held.some((run) => run.id === id) ? "holding" : "idle";
}
