/** All worker slots together: starts them, hands commands to their workers and reports to their supervisors. */
import type { Logger } from "pino";
import type { CommandFrames, ReportFrames } from "../protocol/frames.ts";
import type { Command } from "../protocol/messages.ts";
import type { Launch } from "../processes/child.ts";
import type { SlotFailure } from "./slot-failure.ts";
import { Supervisor, type SpawnWorker, type SupervisorSettings, type WorkerListener } from "./supervisor.ts";
import { openTransport, type Transport, type TransportHandlers } from "./transport.ts";

export interface PoolOptions {
  readonly slots: number;
  readonly settings: SupervisorSettings;
  readonly log: Logger;
  readonly counters: PoolCounters;
  launch(slot: number, incarnation: number, endpoint: string): Promise<Launch>;
  /** The wire and the processes; unit tests put their own here. */
  readonly open?: () => Promise<Transport>;
  readonly spawn?: SpawnWorker;
}

export interface PoolCounters {
  /** Messages of a process that has been replaced. */
  stale: number;
  /** Bytes that were no message. */
  garbage: number;
}

export class WorkerPool implements TransportHandlers {
  readonly #transport: Transport;
  readonly #supervisors: readonly Supervisor[];
  readonly #counters: PoolCounters;
  readonly #log: Logger;

  private constructor(transport: Transport, options: PoolOptions) {
    this.#transport = transport;
    this.#counters = options.counters;
    this.#log = options.log;
    const ports = {
      launch: (slot: number, incarnation: number) => options.launch(slot, incarnation, transport.endpoint),
      send: (identity: string, command: Command) => transport.send(identity, command),
      spawn: options.spawn,
    };
    this.#supervisors = Array.from(
      { length: options.slots },
      (_, slot) => new Supervisor(slot, ports, options.settings, options.log),
    );
  }

  /** Opens the wire. No worker is started before {@link start}, which needs to know who listens. */
  static async open(options: PoolOptions): Promise<WorkerPool> {
    const open = options.open ?? openTransport;
    return new WorkerPool(await open(), options);
  }

  /** Starts every slot; `listener` is called with what happens to them. Returns before any worker is ready. */
  start(listener: WorkerListener): void {
    this.#transport.start(this);
    for (const supervisor of this.#supervisors) supervisor.start(listener);
  }

  get slots(): readonly Supervisor[] {
    return this.#supervisors;
  }

  /** Rejects when the worker is gone; its `lost` follows. */
  send(slot: number, { command, payload }: CommandFrames): Promise<void> {
    return this.#transport.send(this.#supervisor(slot).identity, command, payload);
  }

  kill(slot: number, failure: SlotFailure): void {
    this.#supervisor(slot).kill(failure);
  }

  /** From now on a worker that ends is not replaced. */
  retire(): void {
    for (const supervisor of this.#supervisors) supervisor.retire();
  }

  /** Ends every worker; a second call kills those that linger. */
  async stop(): Promise<void> {
    await Promise.all(this.#supervisors.map((supervisor) => supervisor.stop()));
    await this.#transport.close();
  }

  report(identity: string, frames: ReportFrames): void {
    const supervisor = this.#supervisors.find((candidate) => candidate.identity === identity);
    if (supervisor === undefined) this.#counters.stale += 1;
    else supervisor.handle(frames);
  }

  garbage(identity: string, error: unknown): void {
    this.#counters.garbage += 1;
    this.#log.warn({ identity, err: error }, "dropped bytes that are not a message of the worker protocol");
  }

  #supervisor(slot: number): Supervisor {
    const supervisor = this.#supervisors[slot];
    if (supervisor === undefined) throw new RangeError(`no worker slot ${slot}`);
    return supervisor;
  }
}
