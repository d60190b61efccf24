/**
 * Who is there, by what is heard: every process says once a second that it lives. A node is dead when it has been silent for six seconds
 * in which this process heard itself; silence while the servers are away, or while this process was suspended, says nothing.
 */
import type { Bus, Subscription } from "../bus.ts";
import type { Layout } from "../layout.ts";
import { Changes } from "../../async/changes.ts";
import { Ticks } from "./ticks.ts";
import { heartbeat, type GatewayBeat, type NodeBeat } from "../wire.ts";

export interface FleetOptions {
  readonly bus: Bus;
  readonly layout: Layout;
  /** Of this process, in all its heartbeats. A node that was found dead goes on under another one. */
  readonly incarnation: () => string;
}

interface Member<Beat> {
  beat: Beat;
  silentMs: number;
}

export const DEAD_AFTER_MS = 6_000;
/** Of two heartbeats one may be lost. */
const CURRENT_MS = 2_000;
const TICK_MS = 500;
/** Without an echo of its own for this long, a process is cut off. */
const ECHO_PATIENCE_MS = 2_500;
const SUSPENDED_MS = 2 * TICK_MS;

export class Fleet {
  readonly #options: FleetOptions;
  readonly #nodes = new Map<string, Member<NodeBeat>>();
  readonly #gateways = new Map<string, Member<GatewayBeat>>();
  readonly #changes = new Changes();
  readonly #mourners = new Set<(last: NodeBeat) => void>();
  /** By name; made again when somebody has said something, or died. */
  #sorted: NodeBeat[] | undefined;
  #deaths = 0;
  #lastEchoMs = Number.NEGATIVE_INFINITY;
  readonly #ticks = new Ticks({
    intervalMs: TICK_MS,
    suspendedMs: SUSPENDED_MS,
    onTick: (elapsedMs) => this.#tick(elapsedMs),
  });
  #subscription: Subscription | undefined;

  constructor(options: FleetOptions) {
    this.#options = options;
  }

  start(): void {
    const { bus, layout } = this.#options;
    this.#subscription = bus.subscribe(layout.heartbeat, ({ header }) => this.#hear(header));
    this.#ticks.start();
  }

  close(): void {
    this.#ticks.close();
    this.#subscription?.close();
  }

  /** @param listener Called once for each node that died, with the last that it said. */
  onDeath(listener: (last: NodeBeat) => void): void {
    this.#mourners.add(listener);
  }

  /** How many nodes this process has seen die. */
  get deaths(): number {
    return this.#deaths;
  }

  /** Those that live, by name. */
  get nodes(): readonly NodeBeat[] {
    this.#sorted ??= [...this.#nodes.values()].map(({ beat }) => beat).toSorted((a, b) => a.name.localeCompare(b.name));
    return this.#sorted;
  }

  get gateways(): GatewayBeat[] {
    return [...this.#gateways.values()].map(({ beat }) => beat);
  }

  /** Whether what this process says comes back to it, so that silence of others means something. */
  get isHearing(): boolean {
    return performance.now() - this.#lastEchoMs < ECHO_PATIENCE_MS;
  }

  /** Nodes of a pool that take work. */
  ready(pool: string): NodeBeat[] {
    return this.nodes.filter((node) => node.pool === pool && node.state === "ready");
  }

  /** Nodes of a pool that take work and have said so within the last two beats: what they said of their load is as it is. */
  current(pool: string): NodeBeat[] {
    return this.ready(pool).filter(({ name }) => (this.#nodes.get(name)?.silentMs ?? Infinity) <= CURRENT_MS);
  }

  /** Whether this very process of a node lives. */
  isAlive(name: string, incarnation: string): boolean {
    return this.#nodes.get(name)?.beat.incarnation === incarnation;
  }

  /** Resolves with the next thing that is heard or no longer heard, or when `signal` fires. */
  changed(signal?: AbortSignal): Promise<void> {
    return this.#changes.next(signal);
  }

  #hear(header: unknown): void {
    const parsed = heartbeat.safeParse(header);
    // Of a later version: not ours to judge.
    if (!parsed.success) return;
    const beat = parsed.data;
    if (beat.incarnation === this.#options.incarnation()) this.#lastEchoMs = performance.now();
    if (beat.kind === "gateway") {
      this.#gateways.set(beat.name, { beat, silentMs: 0 });
    } else {
      const before = this.#nodes.get(beat.name);
      if (beat.state === "gone") this.#nodes.delete(beat.name);
      else this.#nodes.set(beat.name, { beat, silentMs: 0 });
      this.#sorted = undefined;
      // Another process under this name: the one before has ended.
      if (before !== undefined && before.beat.incarnation !== beat.incarnation) this.#died(before.beat);
    }
    this.#changes.announce();
  }

  #tick(elapsedMs: number | undefined): void {
    if (!this.isHearing || elapsedMs === undefined) return;
    for (const [name, member] of this.#nodes) {
      member.silentMs += elapsedMs;
      if (member.silentMs < DEAD_AFTER_MS) continue;
      this.#nodes.delete(name);
      this.#sorted = undefined;
      this.#died(member.beat);
    }
    for (const [name, member] of this.#gateways) {
      member.silentMs += elapsedMs;
      if (member.silentMs >= DEAD_AFTER_MS) this.#gateways.delete(name);
    }
    this.#changes.announce();
  }

  #died(last: NodeBeat): void {
    this.#deaths += 1;
    for (const mourn of this.#mourners) mourn(last);
  }
}
