/** The bus that the settings name. The client of NATS is loaded here, and only for a server that is one of several. */
import { hostname } from "node:os";
import type { Config } from "../config.ts";
import type { Bus } from "./bus.ts";
import type { Layout, Role } from "./layout.ts";
import type { FleetObserver } from "./observer.ts";
import { laxServers } from "./nats/sync-check.ts";

export interface OpenBusOptions {
  readonly config: Pick<Config, "natsUrls" | "natsCreds" | "natsCa" | "pool">;
  readonly layout: Layout;
  readonly role: Role;
  /** Hears in one sentence of what NATS does not allow. */
  readonly warn: (text: string) => void;
  readonly observer?: FleetObserver;
}

/** Rejects with a `ConfigError` that says in one sentence why there is no connection. */
export async function openBus({ config, layout, role, warn, observer }: OpenBusOptions): Promise<Bus> {
  const { NatsBus } = await import("./nats/bus.ts");
  const bus = await NatsBus.connect({
    urls: config.natsUrls,
    credsFile: config.natsCreds ?? undefined,
    caFile: config.natsCa ?? undefined,
    // A user of one pool may listen to nothing else; one of all pools may listen to this too.
    inbox: layout.inbox(role, role === "node" ? config.pool : undefined),
    name: `latentcast-${role} ${hostname()}`,
    warn,
    ...(observer === undefined ? {} : { observer }),
  });
  // Nobody waits for pages that may not be reachable.
  void laxServers(config.natsUrls).then((sentences) => sentences.forEach(warn));
  return bus;
}
