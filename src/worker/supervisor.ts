/** Owns one worker slot: spawns its process, follows its reports, replaces it when it dies or hangs. */
import type { Logger } from "pino";
import type { ReportFrames } from "../protocol/frames.ts";
import {
  PROTOCOL_VERSION,
  type Capabilities,
  type Command,
  type ModelInfo,
  type ReportOf,
} from "../protocol/messages.ts";
import { after, pause, type Timer } from "../async/timer.ts";
import { spawnChild, type Child, type Launch } from "../processes/child.ts";
import { exitFailure, fatalFailure, launchFailure, type SlotFailure } from "./slot-failure.ts";
import { INITIAL_STATE, nextSlotState, type ModelChoice, type SlotEvent, type SlotState } from "./slot-state.ts";
import { stallLimitMs, Watchdog, type LongestPiece } from "./watchdog.ts";

export interface SupervisorSettings {
  readonly startTimeoutMs: number;
  readonly stallTimeoutMs: number;
  /** From the request to leave to SIGKILL. */
  readonly stopGraceMs: number;
}

export type SpawnWorker = typeof spawnChild;

export interface SupervisorPorts {
  /** Prepares what the slot's next process is started with. Rejects with `LaunchError` where trying again at once cannot help. */
  launch(slot: number, incarnation: number): Promise<Launch>;
  send(identity: string, command: Command): Promise<void>;
  readonly spawn: SpawnWorker | undefined;
}

/** Called with what happens to workers. */
export interface WorkerListener {
  changed(slot: number, state: SlotState): void;
  /** A report about a job, from the slot's current process. */
  report(slot: number, frames: ReportFrames): void;
  /** The process of this incarnation is gone, with every job it held. */
  lost(slot: number, incarnation: number, reason: string): void;
  /** What the worker holds according to the listener; undefined when it holds nothing, and a pong is sign of life enough. */
  longestPiece(slot: number): LongestPiece | undefined;
}

/** A worker without work may be kept from answering by others that use its cores, but not for longer than this. */
const IDLE_SILENCE_MS = 10_000;

export class Supervisor {
  readonly slot: number;
  readonly #ports: SupervisorPorts;
  readonly #settings: SupervisorSettings;
  readonly #log: Logger;
  #state: SlotState = INITIAL_STATE;
  #process: Child | undefined;
  #listener: WorkerListener | undefined;
  #watchdog: Watchdog;
  #watchTimer: NodeJS.Timeout | undefined;
  #retryTimer: Timer | undefined;
  #isRetired = false;
  #iterations = -1;
  #pid = 0;
  /** Why we ended the process, or what it said before it ended itself; better than its exit code. */
  #verdict: SlotFailure | undefined;
  #lastPong: ReportOf<"pong"> | undefined;
  /** What a worker with several models has said before it was ready. */
  #choice: ModelChoice | undefined;

  constructor(slot: number, ports: SupervisorPorts, settings: SupervisorSettings, log: Logger) {
    this.slot = slot;
    this.#ports = ports;
    this.#settings = settings;
    this.#log = log.child({ slot });
    this.#watchdog = new Watchdog(performance.now());
  }

  get state(): SlotState {
    return this.#state;
  }

  get identity(): string {
    return `w${this.slot}.${this.#state.incarnation}`;
  }

  get pid(): number | undefined {
    return this.#process?.pid;
  }

  /** The worker's newest account of itself. */
  get vitals(): ReportOf<"pong"> | undefined {
    return this.#lastPong;
  }

  start(listener: WorkerListener): void {
    this.#listener = listener;
    void this.#run();
  }

  /** The process that runs is the last one of this slot. */
  retire(): void {
    this.#isRetired = true;
    this.#retryTimer?.cancel();
    if (this.#process === undefined) this.#apply({ kind: "stopped" });
  }

  /** No new process from now on; the current one is asked to leave, then ended by the ladder. A second call kills it. */
  async stop(): Promise<void> {
    this.#retryTimer?.cancel();
    const running = this.#process;
    if (running === undefined) {
      this.#apply({ kind: "stopped" });
      return;
    }
    if (this.#state.kind === "ready") await this.#askToLeave(running);
    this.#apply({ kind: "drain" });
    await running.stop(this.#settings.stopGraceMs);
  }

  /** Ends the process at once; a failure that is known already stays the reason. */
  kill(failure: SlotFailure): void {
    this.#verdict ??= failure;
    this.#process?.kill();
  }

  /** Takes a report whose identity named this slot's current incarnation. */
  handle(frames: ReportFrames): void {
    const { report } = frames;
    const now = performance.now();
    switch (report.type) {
      case "hello":
        this.#pid = report.pid;
        this.#watchdog.sign(now);
        if (report.protocol !== PROTOCOL_VERSION) {
          this.kill({
            code: "protocol_mismatch",
            message: `the worker speaks protocol ${report.protocol} and this server ${PROTOCOL_VERSION}; install both from one release`,
            isPermanent: true,
          });
        }
        return;
      case "loading":
        this.#watchdog.sign(now);
        this.#apply({
          kind: "loading",
          loading: { stage: report.stage, progress: report.progress, detail: report.detail },
        });
        return;
      case "models":
        this.#watchdog.sign(now);
        this.#choice = report;
        this.#apply({ kind: "models", choice: report });
        return;
      case "ready":
        this.#becomeReady(report);
        return;
      case "pong":
        if (report.iterations !== this.#iterations || this.#longestPiece === undefined) this.#watchdog.sign(now);
        this.#iterations = report.iterations;
        this.#lastPong = report;
        return;
      case "log":
        this.#log[report.level]({ worker: report.fields }, report.message);
        return;
      case "fatal":
        this.#verdict = fatalFailure(report);
        this.#log.error({ code: report.code }, report.message);
        return;
      default:
        this.#watchdog.sign(now);
        this.#listener?.report(this.slot, frames);
    }
  }

  get #longestPiece(): LongestPiece | undefined {
    return this.#listener?.longestPiece(this.slot);
  }

  async #run(): Promise<void> {
    const { incarnation } = this.#state;
    this.#verdict = undefined;
    this.#lastPong = undefined;
    this.#choice = undefined;
    let launch: Launch;
    try {
      launch = await this.#ports.launch(this.slot, incarnation);
    } catch (error) {
      this.#died(launchFailure(error));
      return;
    }
    // The wait for the launch may have outlasted this supervisor.
    if (this.#state.kind !== "starting") return;
    const log = this.#log.child({ epoch: incarnation });
    this.#watchdog = new Watchdog(performance.now());
    const spawn = this.#ports.spawn ?? spawnChild;
    this.#process = spawn(launch, (line, stream) => log.info({ stream }, line));
    log.info({ pid: this.#process.pid }, "worker started");
    this.#watch();
    const exit = await this.#process.exited;
    clearInterval(this.#watchTimer);
    this.#process = undefined;
    const failure = this.#verdict ?? exitFailure(exit);
    if (!this.#isDraining()) log.warn({ exit, code: failure.code }, `worker ended: ${failure.message}`);
    this.#died(failure);
    this.#listener?.lost(this.slot, incarnation, failure.message);
  }

  async #askToLeave(running: Child): Promise<void> {
    this.#apply({ kind: "drain" });
    const hasLeft = new AbortController();
    try {
      await this.#ports.send(this.identity, { type: "shutdown" });
      await Promise.race([running.exited, pause(this.#settings.stopGraceMs / 2, hasLeft.signal)]);
    } catch {
      // Not reachable any more: the ladder follows at once.
    } finally {
      hasLeft.abort();
    }
  }

  #becomeReady({ model, device, capabilities, versions, step_seconds }: ReportOf<"ready">): void {
    const choice = this.#choice ?? onlyModel(model, capabilities, step_seconds);
    const info = { pid: this.#pid, model, device, capabilities, versions, stepSeconds: step_seconds, choice };
    this.#watchdog = new Watchdog(performance.now());
    this.#iterations = -1;
    this.#apply({ kind: "ready", info });
  }

  #watch(): void {
    const intervalMs = Math.min(Math.max(this.#settings.stallTimeoutMs / 10, 100), 2_000);
    this.#watchTimer = setInterval(() => {
      const limitMs = this.#limitMs;
      if (this.#watchdog.isStalled(performance.now(), intervalMs, limitMs)) {
        this.kill(this.#stall(Math.round(limitMs / 1_000)));
      } else if (this.#state.kind === "ready") {
        // A worker that cannot be reached is about to be found dead or stalled.
        this.#ports.send(this.identity, { type: "ping" }).catch(() => undefined);
      }
    }, intervalMs);
    this.#watchTimer.unref();
  }

  /** How long the worker may be silent with what it does now. */
  get #limitMs(): number {
    const { startTimeoutMs, stallTimeoutMs } = this.#settings;
    const piece = this.#longestPiece;
    if (this.#state.kind !== "ready") return startTimeoutMs;
    return piece === undefined
      ? Math.max(stallTimeoutMs, IDLE_SILENCE_MS)
      : stallLimitMs({ minimumMs: stallTimeoutMs, unknownMs: startTimeoutMs }, piece);
  }

  #stall(seconds: number): SlotFailure {
    if (this.#state.kind !== "starting")
      return { code: "stalled", message: `the worker made no step for ${seconds} s`, isPermanent: false };
    const { stage } = this.#state.loading;
    const advice = "raise LATENTCAST_START_TIMEOUT_SECONDS if it is only slow";
    return {
      code: "loading_stalled",
      message: `the worker showed no progress for ${seconds} s while loading (${stage}); ${advice}`,
      isPermanent: false,
    };
  }

  #died(failure: SlotFailure): void {
    this.#apply({ kind: "died", nowMs: performance.now(), failure });
    if (this.#isRetired) this.#apply({ kind: "stopped" });
    const state = this.#state;
    if (state.kind !== "backoff" && state.kind !== "failed") return;
    const retry = (): void => {
      this.#apply({ kind: "retry" });
      if (this.#state.kind === "starting") void this.#run();
    };
    this.#retryTimer = after(state.untilMs - performance.now(), retry, { unref: true });
  }

  #isDraining(): boolean {
    return this.#state.kind === "draining";
  }

  #apply(event: SlotEvent): void {
    const next = nextSlotState(this.#state, event);
    if (next === this.#state) return;
    this.#state = next;
    this.#listener?.changed(this.slot, next);
  }
}

function onlyModel(model: ModelInfo, capabilities: Capabilities, stepSeconds: number): ModelChoice {
  const served = { model, capabilities, is_loaded: true, step_seconds: stepSeconds, load_seconds: null, problem: null };
  return { models: [served], unserved: [] };
}
