/** All worker slots behind one door: starts them, routes their reports, tells what each can do. */
import type { Logger } from "pino";
import type { ReportFrames } from "../protocol/frames.ts";
import type { Command } from "../protocol/messages.ts";
import type { Launch } from "../processes/child.ts";
import type { SlotState } from "./slot-state.ts";
import { Supervisor, type SupervisorSettings } from "./supervisor.ts";
import { openTransport, type Transport, type TransportHandlers } from "./transport.ts";

/** What the owner of the pool hears. */
export interface PoolListener {
  changed(slot: number, state: SlotState): void;
  report(slot: number, epoch: number, frames: ReportFrames): void;
  lost(slot: number, epoch: number, reason: string): void;
  jobsInFlight(slot: number): number;
}

export interface PoolOptions {
  readonly slots: number;
  readonly settings: SupervisorSettings;
  readonly log: Logger;
  launch(slot: number, epoch: number, endpoint: string): Promise<Launch>;
  open?(handlers: TransportHandlers): Promise<Transport>;
}

export interface PoolCounters {
  /** Messages of a process that has been replaced. */
  stale: number;
  /** Bytes that were no message. */
  garbage: number;
  restarts: number;
}

export class WorkerPool {
  readonly counters: PoolCounters = { stale: 0, garbage: 0, restarts: 0 };
  readonly #transport: Transport;
  readonly #supervisors: readonly Supervisor[];
  readonly #log: Logger;

  private constructor(transport: Transport, options: PoolOptions, listener: PoolListener) {
    this.#transport = transport;
    this.#log = options.log;
    const ports = {
      launch: (slot: number, epoch: number) => options.launch(slot, epoch, transport.endpoint),
      send: (identity: string, command: Command) => transport.send(identity, command),
      jobsInFlight: (slot: number) => listener.jobsInFlight(slot),
      changed: (slot: number, state: SlotState) => {
        if (state.kind === "starting" && state.epoch > 1 && state.loading.stage === "spawn")
          this.counters.restarts += 1;
        listener.changed(slot, state);
      },
      report: (slot: number, frames: ReportFrames) => listener.report(slot, this.state(slot).epoch, frames),
      lost: (slot: number, epoch: number, reason: string) => listener.lost(slot, epoch, reason),
    };
    this.#supervisors = Array.from(
      { length: options.slots },
      (_, slot) => new Supervisor(slot, ports, options.settings, options.log),
    );
  }

  /** Opens the wire and starts every slot. Resolves before any worker is ready. */
  static async open(options: PoolOptions, listener: PoolListener): Promise<WorkerPool> {
    const open = options.open ?? openTransport;
    let pool: WorkerPool | undefined;
    const transport = await open({
      report: (identity, frames) => {
        if (pool !== undefined) pool.#handle(identity, frames);
      },
      garbage: (identity, error) => {
        if (pool !== undefined) pool.#noteGarbage(identity, error);
      },
    });
    pool = new WorkerPool(transport, options, listener);
    for (const supervisor of pool.#supervisors) supervisor.start();
    return pool;
  }

  get slots(): readonly Supervisor[] {
    return this.#supervisors;
  }

  state(slot: number): SlotState {
    return this.#supervisor(slot).state;
  }

  /** Rejects when the worker is gone; its `lost` follows. */
  send(slot: number, command: Command): Promise<void> {
    return this.#transport.send(this.#supervisor(slot).identity, command);
  }

  kill(slot: number, reason: string): void {
    this.#supervisor(slot).kill(reason);
  }

  async stop(): Promise<void> {
    await Promise.all(this.#supervisors.map((supervisor) => supervisor.stop()));
    await this.#transport.close();
  }

  #supervisor(slot: number): Supervisor {
    const supervisor = this.#supervisors[slot];
    if (supervisor === undefined) throw new RangeError(`no worker slot ${slot}`);
    return supervisor;
  }

  #handle(identity: string, frames: ReportFrames): void {
    const supervisor = this.#supervisors.find((candidate) => candidate.identity === identity);
    if (supervisor === undefined) this.counters.stale += 1;
    else supervisor.handle(frames);
  }

  #noteGarbage(identity: string, error: unknown): void {
    this.counters.garbage += 1;
    this.#log.warn({ identity, err: error }, "dropped bytes that are no message of the worker protocol");
  }
}
