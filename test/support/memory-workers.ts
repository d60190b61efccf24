/** Workers without processes: a transport whose other side is scripted by the test, and the process port that goes with it. */
import { randomBytes } from "node:crypto";
import { decodeReport } from "../../src/protocol/frames.ts";
import type { Command, Report, ReportOf } from "../../src/protocol/messages.ts";
import type { Child, ChildExit } from "../../src/processes/child.ts";
import type { PoolOptions } from "../../src/worker/pool.ts";
import type { SpawnWorker } from "../../src/worker/supervisor.ts";
import type { Transport, TransportHandlers } from "../../src/worker/transport.ts";
import { workerInfo } from "./builders.ts";

/** The workers that have been started, oldest first. */
export class MemoryWorkers {
  readonly started: MemoryWorker[] = [];
  #handlers: TransportHandlers | undefined;

  /** What a pool is opened with. */
  options(slots = 1): Pick<PoolOptions, "slots" | "launch" | "open" | "spawn"> {
    return {
      slots,
      launch: async (slot, incarnation) => ({ file: "memory", args: [`w${slot}.${incarnation}`], env: {} }),
      open: () => Promise.resolve(this.#transport),
      spawn: this.spawn,
    };
  }

  /** The newest process of a slot. */
  of(slot: number): MemoryWorker {
    const worker = this.started.findLast(({ identity }) => identity.startsWith(`w${slot}.`));
    if (worker === undefined) throw new Error(`no worker was started in slot ${slot}`);
    return worker;
  }

  /** Bytes that are no message, from whoever names himself so. */
  garbage(identity: string): void {
    this.#handlers?.garbage(identity, new Error("garbage"));
  }

  readonly spawn: SpawnWorker = ({ args: [identity = ""] }) => {
    const worker = new MemoryWorker(identity, (report, payload) =>
      this.#handlers?.report(identity, decodeReport([Buffer.from(JSON.stringify(report)), ...payload])),
    );
    this.started.push(worker);
    return worker.child;
  };

  readonly #transport: Transport = {
    endpoint: "memory",
    start: (handlers) => {
      this.#handlers = handlers;
    },
    send: async (identity, command, payload = []) => {
      const worker = this.started.find((candidate) => candidate.identity === identity && candidate.isReachable);
      if (worker === undefined) throw new Error(`${identity} is not there`);
      worker.receive(command, payload);
    },
    close: () => Promise.resolve(),
  };
}

type Send = (report: Report, payload: readonly Buffer[]) => void;

export class MemoryWorker {
  readonly identity: string;
  readonly received: Command[] = [];
  /** What came with each of them. */
  readonly payloads: (readonly Buffer[])[] = [];
  isReachable = true;
  /** Whether it answers pings, and does what it is told at the end. */
  isPolite = true;
  iterations = 0;
  readonly child: Child;
  readonly #send: Send;
  #exit: (exit: ChildExit) => void = () => undefined;

  constructor(identity: string, send: Send) {
    this.identity = identity;
    this.#send = send;
    const exited = new Promise<ChildExit>((resolve) => {
      this.#exit = resolve;
    });
    this.child = {
      pid: 4_711,
      exited,
      stop: () => {
        this.die();
        return exited;
      },
      kill: () => this.die("SIGKILL"),
    };
  }

  get incarnation(): number {
    return Number(this.identity.split(".")[1]);
  }

  /** Ids of the jobs that it was given, in order. */
  get jobs(): string[] {
    return this.received.flatMap((command) => (command.type === "generate" ? [command.job_id] : []));
  }

  get cancelled(): string[] {
    return this.received.flatMap((command) => (command.type === "cancel" ? [command.job_id] : []));
  }

  say(report: Report, ...payload: Buffer[]): void {
    this.#send(report, payload);
  }

  hello(protocol?: number): void;
  hello(protocol: number): void {
    this.say({ type: "hello", protocol, pid: 4_711 });
  }

  /** Loads at once. */
  ready(...overrides: Parameters<typeof workerInfo>): void {
    const { model, device, capabilities, versions, stepSeconds } = workerInfo(...overrides);
    this.say({ type: "ready", model, device, capabilities, versions, step_seconds: stepSeconds });
  }

  start(id: string, totalSteps = 20): void {
    this.say({ type: "started", ...this.#ref(id), total_steps: totalSteps });
  }

  step(id: string, step: number, seconds = 0.1): void {
    this.iterations += 1;
    this.say({ type: "progress", ...this.#ref(id), step, step_seconds: seconds });
  }

  preview(id: string, step: number): void {
    this.say(
      {
        type: "preview",
        ...this.#ref(id),
        step,
        total_steps: 20,
        content_type: "image/jpeg",
        images: [{ width: 8, height: 8 }],
        preview_seconds: 0.01,
      },
      Buffer.from("jpeg"),
    );
  }

  finish(id: string): void {
    const images = [{ width: 8, height: 8 }];
    this.say({ type: "result", ...this.#ref(id), images, warnings: [], decode_seconds: 0 }, Buffer.alloc(8 * 8 * 3));
  }

  /** Images that no encoder makes small. */
  finishNoise(id: string, images: number, side: number): void {
    const noise = Array.from({ length: images }, () => randomBytes(side * side * 3));
    const sizes = noise.map(() => ({ width: side, height: side }));
    this.say({ type: "result", ...this.#ref(id), images: sizes, warnings: [], decode_seconds: 0 }, ...noise);
  }

  fail(id: string, failure: Pick<ReportOf<"failed">, "code" | "message" | "field">): void {
    this.say({ type: "failed", ...this.#ref(id), ...failure });
  }

  confirmCancel(id: string): void {
    this.say({ type: "cancelled", ...this.#ref(id), device_seconds: 0.5 });
  }

  die(signal: string | null = null): void {
    this.isReachable = false;
    const code = signal === null ? 0 : null;
    this.#exit({ code, signal, stderrTail: [], ranForMs: 1, spawnError: null });
  }

  receive(command: Command, payload: readonly Buffer[]): void {
    this.received.push(command);
    this.payloads.push(payload);
    if (!this.isPolite) return;
    if (command.type === "shutdown") this.die();
    if (command.type === "ping")
      this.say({ type: "pong", iterations: this.iterations, rss_bytes: 1, device_memory_bytes: 2 });
  }

  #ref(id: string): { job_id: string; incarnation: number } {
    return { job_id: id, incarnation: this.incarnation };
  }
}
