/** What a gateway knows of one pool: the model, the nodes, what waits there. */
import type { Logger } from "pino";
import { executedSteps, pixelsOf } from "../../protocol/params.ts";
import type { JobRequest, Serving } from "../../jobs/request.ts";
import type { Bus } from "../bus.ts";
import type { Fleet } from "../fleet/fleet.ts";
import { TICKET_CLASSES, type Layout } from "../layout.ts";
import { readPool } from "./pool-record.ts";
import type { DeviceBeat, NodeBeat, PoolRecord } from "../wire.ts";

export interface PoolViewOptions {
  readonly bus: Bus;
  readonly layout: Layout;
  readonly fleet: Fleet;
  readonly name: string;
  readonly log: Logger;
  readonly onChange: () => void;
  /** Tickets of this gateway in the queue. */
  readonly ownTickets: () => number;
}

const POLL_MS = 1_000;

export class PoolView {
  readonly #options: PoolViewOptions;
  readonly #closing = new AbortController();
  #known: PoolRecord["serving"] | undefined;
  #timer: NodeJS.Timeout | undefined;
  #elsewhere = 0;

  constructor(options: PoolViewOptions) {
    this.#options = options;
  }

  start(): void {
    this.#timer = setInterval(() => void this.#poll(), POLL_MS);
    void this.#poll();
  }

  close(): void {
    clearInterval(this.#timer);
    this.#closing.abort();
  }

  get name(): string {
    return this.#options.name;
  }

  /** What its record says. */
  learn({ serving }: PoolRecord): void {
    this.#known = serving;
  }

  /** Nodes that take work. */
  get nodes(): NodeBeat[] {
    return this.#options.fleet.ready(this.name);
  }

  get devices(): DeviceBeat[] {
    return this.nodes.flatMap(({ devices }) => devices);
  }

  /** What requests are resolved against; known while no node is up, once one has been. */
  get serving(): Serving | undefined {
    this.#known = this.nodes[0]?.serving ?? this.#known;
    if (this.#known === undefined) return undefined;
    const { model, preview_decoders } = this.#known;
    return { model, capabilities: { preview_decoders } };
  }

  /** Whether a ticket would be taken. */
  get canDraw(): boolean {
    return this.#options.bus.isConnected && this.problem === undefined;
  }

  /** Why nobody draws for it; undefined while somebody does. */
  get problem(): string | undefined {
    return this.devices.length > 0 ? undefined : `no node of pool ${this.name} takes work`;
  }

  /** Tickets in the queue of the pool that are not of this gateway, a second ago at most. */
  get ticketsElsewhere(): number {
    return this.#elsewhere;
  }

  /** Whether some device would begin one more job at once. */
  get hasRoom(): boolean {
    return this.devices.some((device) => device.has_room && device.newcomers < device.rows);
  }

  /** When a job at this place in the queue begins. Null while that is unknown. */
  estimateMs(position: number, { params }: JobRequest): number | null {
    const { devices } = this;
    const model = this.serving?.model;
    if (devices.length === 0 || model === undefined) return null;
    const free = devices.filter((device) => device.has_room && device.newcomers < device.rows);
    if (position < free.length) return 0;
    const share = pixelsOf(params) / (model.native_width * model.native_height);
    const stepSeconds = devices.reduce((sum, device) => sum + device.step_seconds, 0) / devices.length;
    const backlogSeconds = devices.reduce((sum, device) => sum + device.backlog_seconds, 0);
    const aheadSeconds = position * executedSteps(params) * stepSeconds * share;
    // What devices hold in common with the queue is little: they take a job when they can begin it.
    return Math.round(((backlogSeconds + aheadSeconds) * 1_000) / devices.length);
  }

  async #poll(): Promise<void> {
    const { bus, layout, name: pool, log, onChange, ownTickets } = this.#options;
    if (!bus.isConnected) return;
    try {
      // Without nodes the record is all that there is of it, and an operator may have removed it.
      if (this.nodes.length === 0) this.#known = (await readPool(bus, layout, pool))?.serving;
      const pending = await Promise.all(TICKET_CLASSES.map((each) => bus.pending(layout.tickets(pool, each))));
      this.#elsewhere = Math.max(0, pending.reduce((sum, { waiting }) => sum + waiting, 0) - ownTickets());
    } catch (error) {
      log.debug({ pool, err: error }, "the queue of the pool could not be read");
    }
    if (!this.#closing.signal.aborted) onChange();
  }
}
