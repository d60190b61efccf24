/** A fleet in one process: gateways and nodes on a network in memory, with workers that the test plays itself. */
import pino from "pino";
import { vi } from "vitest";
import type { Bus } from "../../src/cluster/bus.ts";
import { Fleet } from "../../src/cluster/fleet/fleet.ts";
import { Gateway } from "../../src/cluster/gateway/gateway.ts";
import { Layout } from "../../src/cluster/layout.ts";
import { LoadChanges } from "../../src/cluster/node/load-changes.ts";
import { Node, type NodeOptions } from "../../src/cluster/node/node.ts";
import type { RemoteJobs } from "../../src/cluster/gateway/remote-jobs.ts";
import { isTerminal, type JobEvent, type TerminalEvent } from "../../src/jobs/events.ts";
import type { Job } from "../../src/jobs/job.ts";
import type { JobObserver } from "../../src/jobs/observer.ts";
import type { Submission } from "../../src/jobs/submission.ts";
import type { ModelInfo } from "../../src/protocol/messages.ts";
import { generateInput } from "../../src/schema/input.ts";
import { MemoryNetwork, type MemoryBus } from "./memory-bus.ts";
import type { MemoryStream } from "./memory-stream.ts";
import { jobService, type MemoryService, type MemorySubmission } from "./memory-service.ts";
import type { MemoryWorker } from "./memory-workers.ts";

const log = pino({ level: "silent" });

export interface MemoryGateway {
  readonly bus: MemoryBus;
  readonly jobs: RemoteJobs;
  readonly fleet: Fleet;
  /** A job of 20 steps with seed 1. */
  submit(id: string, options?: MemorySubmission): Job;
  close(): Promise<void>;
}

export interface MemoryNode {
  readonly bus: MemoryBus;
  readonly node: Node;
  readonly service: MemoryService;
  readonly worker: MemoryWorker;
  /** Whatever it says from now on is lost, and it hears nothing. */
  die(): void;
  close(): Promise<void>;
}

/** What its worker says of itself. */
interface Loaded {
  readonly capabilities?: object;
  readonly model?: Partial<ModelInfo>;
}

export class MemoryFleet implements AsyncDisposable {
  readonly layout: Layout;
  readonly network: MemoryNetwork;
  readonly #closers: (() => Promise<void>)[] = [];

  constructor({ pools = ["default", "big"] }: { readonly pools?: readonly string[] } = {}) {
    this.layout = new Layout({ pools });
    this.network = new MemoryNetwork(this.layout);
  }

  /** Everything that was opened ends. */
  async [Symbol.asyncDispose](): Promise<void> {
    const closed = Promise.all(this.#closers.map((close) => close()));
    // What they still wait for comes at once.
    if (vi.isFakeTimers()) await vi.advanceTimersByTimeAsync(10_000);
    await closed;
  }

  /** Tickets that are not done. */
  get tickets(): number {
    return this.#ticketStream.messages.length;
  }

  /** Puts the newest ticket a second time. */
  repeatTicket(): void {
    const { subject, header, payload } = this.#ticketStream.messages.at(-1)!;
    this.#ticketStream.put(subject, header, payload, { id: "repeated" });
  }

  putTicket(id: string, header: object): void {
    const subject = this.layout.ticket("default", "n", id);
    this.#ticketStream.put(subject, { ...header }, Buffer.alloc(0), { id });
  }

  loseTicketsOf(id: string): void {
    for (const { subject, sequence } of this.#ticketStream.messages)
      if (subject === this.layout.ticket("default", "n", id)) this.#ticketStream.remove(sequence);
  }

  get #ticketStream(): MemoryStream {
    return this.network.stream(this.layout.streams.tickets);
  }

  gateway(
    name = "gateway-1",
    { pool = "default", ...config }: Partial<{ queueLimit: number; pool: string }> = {},
    observers: readonly JobObserver[] = [],
  ): MemoryGateway {
    const bus = this.network.connect();
    const fleet = this.#fleet(bus, () => name);
    const gateway = new Gateway({
      ...{ bus, fleet, name, log, layout: this.layout, incarnation: () => name, pool, version: "0" },
      observers,
      config: { queueLimit: 100, maxPixels: 2 ** 24, shortcuts: [], ...config },
    });
    gateway.start();
    const { jobs } = gateway;
    const submission = (id: string, { input = {}, ...options }: MemorySubmission = {}): Submission => ({
      id,
      input: generateInput.parse({ prompt: "x", seed: 1, ...input }),
      ...options,
    });
    const close = async (): Promise<void> => {
      await jobs.close();
      gateway.close();
      fleet.close();
      await bus.close();
    };
    this.#closers.push(close);
    return { bus, jobs, fleet, close, submit: (id, options) => jobs.submit(submission(id, options)) };
  }

  /** Its worker has loaded. */
  async node(name = "node-1", options: Partial<NodeOptions> & Loaded = {}): Promise<MemoryNode> {
    const bus = this.network.connect();
    const incarnation = options.incarnation ?? (() => `${name}-a`);
    const fleet = this.#fleet(bus, incarnation);
    const changes = new LoadChanges();
    const service = await jobService({ observers: [changes] });
    const node = new Node({
      ...{ bus, fleet, name, log, incarnation, layout: this.layout, jobs: service.jobs },
      ...{ pool: "default", version: "0", slots: 32, facts: { shortcuts: [], maxBatch: null } },
      ...options,
    });
    changes.onChange = () => node.wake();
    service.worker.ready(options.capabilities, options.model);
    node.start();
    let isDead = false;
    const close = async (): Promise<void> => {
      if (isDead) return;
      isDead = true;
      await service.jobs.close();
      await node.close();
      fleet.close();
      await bus.close();
    };
    const die = (): void => {
      bus.isConnected = false;
    };
    this.#closers.push(close);
    return { bus, node, service, worker: service.worker, die, close };
  }

  #fleet(bus: Bus, incarnation: () => string): Fleet {
    const fleet = new Fleet({ bus, layout: this.layout, incarnation });
    fleet.start();
    return fleet;
  }
}

/** Waits through promises, timers and dead nodes. */
export function eventually(check: () => void): Promise<void> {
  return vi.waitFor(check, { timeout: 50_000, interval: 5 });
}

/** Everything that happened to a job, as a listener from its start sees it. */
export async function eventsOf(job: Job): Promise<JobEvent[]> {
  const events: JobEvent[] = [];
  for await (const { event } of job.follow()) events.push(event);
  return events;
}

export async function endOf(job: Job): Promise<TerminalEvent> {
  for await (const { event } of job.follow()) if (isTerminal(event)) return event;
  throw new Error("a job without an end");
}
