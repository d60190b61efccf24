/**
 * Certifies deaths. Of all gateways that notice one, the gateway that writes the certificate gives the dead node's tickets back: a second
 * hand-back would take a ticket from its next holder. Nodes take claims from the certified dead at once.
 */
import type { Logger } from "pino";
import { WrongSequence, type Bus } from "../bus.ts";
import { DEAD_AFTER_MS, type Fleet } from "../fleet/fleet.ts";
import { ownerName, ownerOf } from "../storage/fleet-requests.ts";
import type { Layout } from "../layout.ts";
import type { RequestMap } from "./request-map.ts";
import { Ticks } from "../fleet/ticks.ts";
import { WIRE_VERSION, type NodeBeat } from "../wire.ts";

export interface DeathsOptions {
  readonly bus: Bus;
  readonly layout: Layout;
  readonly fleet: Pick<Fleet, "onDeath" | "nodes" | "isHearing" | "isAlive">;
  readonly map: RequestMap;
  /** Of this process, unlike that of any other. */
  readonly gateway: string;
  readonly log: Logger;
}

const TICK_MS = 500;
const SUSPENDED_MS = 2 * TICK_MS;
/** Nobody asks about a process that died this long ago: its claims have been taken, its requests have ended. */
const CERTIFICATE_MS = 24 * 3_600_000;
const EMPTY = Buffer.alloc(0);

export class Deaths {
  readonly #options: DeathsOptions;
  /** Holders of claims that were not heard, and for how long. */
  readonly #silent = new Map<string, number>();
  readonly #certified = new Set<string>();
  readonly #ticks = new Ticks({
    intervalMs: TICK_MS,
    suspendedMs: SUSPENDED_MS,
    onTick: (elapsedMs) => this.#tick(elapsedMs),
  });

  constructor(options: DeathsOptions) {
    this.#options = options;
    options.fleet.onDeath((last) => void this.#certify(ownerName(last.name, last.incarnation), last.held));
  }

  start(): void {
    this.#ticks.start();
  }

  close(): void {
    this.#ticks.close();
  }

  /** Claims of nodes that this gateway has never heard: they may have died before it came. */
  #tick(elapsedMs: number | undefined): void {
    const { map, fleet } = this.#options;
    if (!fleet.isHearing || elapsedMs === undefined) return;
    const holders = new Set(
      map.list().flatMap(({ state: { kind, holder } }) => (kind === "running" && holder !== null ? [holder] : [])),
    );
    for (const holder of this.#silent.keys()) if (!holders.has(holder)) this.#silent.delete(holder);
    for (const holder of holders) {
      const owner = ownerOf(holder);
      if (owner === undefined || this.#certified.has(holder)) continue;
      if (fleet.isAlive(owner.node, owner.incarnation)) this.#silent.delete(holder);
      else this.#silent.set(holder, (this.#silent.get(holder) ?? 0) + elapsedMs);
      // Another process under the name of the node: this one has ended.
      const isReplaced = fleet.nodes.some(
        ({ name, incarnation }) => name === owner.node && incarnation !== owner.incarnation,
      );
      if (isReplaced || (this.#silent.get(holder) ?? 0) >= DEAD_AFTER_MS) void this.#certify(holder, []);
    }
  }

  async #certify(holder: string, held: NodeBeat["held"]): Promise<void> {
    const { bus, layout, gateway, log } = this.#options;
    const owner = ownerOf(holder);
    if (owner === undefined || this.#certified.has(holder)) return;
    this.#certified.add(holder);
    const { node, incarnation } = owner;
    try {
      const id = `dead.${node}.${incarnation}.${gateway}`;
      const header = { v: WIRE_VERSION, gateway };
      const options = { expected: 0, id, ttlMs: CERTIFICATE_MS };
      await bus.put(layout.streams.state, layout.death(node, incarnation), header, EMPTY, options);
    } catch (error) {
      if (error instanceof WrongSequence) return;
      log.warn({ node, err: error }, "the death of a node could not be certified yet");
      this.#certified.delete(holder);
      return;
    }
    log.warn({ node, held: held.length }, "a node died: its work is given to others");
    for (const { ack } of held) bus.nakAt(ack);
  }
}

/** Whether a gateway has found this process of a node dead. */
export async function isCertified(bus: Bus, layout: Layout, holder: string): Promise<boolean> {
  const owner = ownerOf(holder);
  if (owner === undefined) return false;
  const subject = layout.death(owner.node, owner.incarnation);
  return (await bus.get(layout.streams.state, subject)) !== undefined;
}
