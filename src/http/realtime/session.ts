/** One realtime connection: takes inputs, has the latest drawn, and sends what becomes of them. */
import { randomUUID } from "node:crypto";
import { Changes } from "../../async/changes.ts";
import { after, type Timer } from "../../async/timer.ts";
import { readInput, requestIdOf, type Message, type InputMessage } from "../../dialects/realtime/input.ts";
import { nextInputs, noInputs, type Inputs } from "../../dialects/realtime/latest-wins.ts";
import {
  errorMessage,
  IDLE,
  previewMessage,
  resultMessage,
  supersededMessage,
  type ImageMessage,
} from "../../dialects/realtime/messages.ts";
import { fitSize } from "../../dialects/fit-size.ts";
import type { RequestId } from "../../dialects/realtime/schema.ts";
import { LatentcastError, toLatentcastError } from "../../errors.ts";
import type { InputReader } from "../../images/source.ts";
import type { CallerTurns, CallerTurn } from "../../jobs/caller-turns.ts";
import { terminalError, type JobEvent } from "../../jobs/events.ts";
import type { Job } from "../../jobs/job.ts";
import type { Jobs } from "../../jobs/jobs.ts";
import type { Submission } from "../../jobs/submission.ts";
import type { BeginImage } from "../plugins/limits.ts";
import { decodeFrame, encodeControl, encodeImages, imageForm, type Coding, type SocketFrame } from "./coding.ts";
import { MessageRate } from "./message-rate.ts";
import type { Socket } from "./sockets.ts";

export interface SessionOptions {
  readonly jobs: Pick<Jobs, "poolOf" | "admit" | "submit" | "cancel">;
  /** What an input may start from. */
  readonly inputReader: InputReader;
  readonly turns: CallerTurns;
  readonly begin: BeginImage;
  readonly onSuperseded: () => void;
  readonly caller: string;
  /** How many inputs may wait. */
  readonly places: number;
  /** What those may weigh together. */
  readonly maxWaitingBytes: number;
  /** Null is no limit. */
  readonly messagesPerSecond: number | null;
  /** After so long without an input, with nothing to do, the connection ends. */
  readonly idleMs: number;
}

/** Close codes, as RFC 6455 has them. */
const NORMAL = 1_000;
const GOING_AWAY = 1_001;
const POLICY_VIOLATION = 1_008;

/** An input that comes while the model loads waits this long for it, like a direct request. */
const MODEL_TIMEOUT_MS = 60_000;

type Queued = InputMessage & { readonly coding: Coding; readonly bytes: number };

export interface SessionTotals {
  inputs: number;
  results: number;
  superseded: number;
}

export class RealtimeSession {
  readonly totals: SessionTotals = { inputs: 0, results: 0, superseded: 0 };
  readonly #socket: Socket;
  readonly #options: SessionOptions;
  readonly #rate: MessageRate;
  readonly #changes = new Changes();
  readonly #gone = new AbortController();
  #inputs: Inputs<Queued>;
  #job: Job | undefined;
  #idle: Timer;
  #isDraining = false;
  #isClosing = false;

  constructor(socket: Socket, options: SessionOptions) {
    const { places, maxWaitingBytes, messagesPerSecond } = options;
    this.#socket = socket;
    this.#options = options;
    this.#rate = new MessageRate(messagesPerSecond ?? Number.POSITIVE_INFINITY, performance.now());
    this.#inputs = noInputs({ places, maxBytes: maxWaitingBytes });
    this.#idle = this.#idleTimer();
  }

  /** Resolves with the close code when the connection has ended and nothing of it runs any more. */
  async run(): Promise<number> {
    const closed = new Promise<number>((resolve) => {
      this.#socket.listen({
        message: (frame) => this.#receive(frame),
        pinged: () => {
          if (!this.#isClosing) this.#count();
        },
        closed: (code) => {
          this.#isClosing = true;
          this.#idle.cancel();
          this.#gone.abort();
          resolve(code);
        },
      });
    });
    await this.#work();
    return closed;
  }

  /** Takes no more inputs, finishes the one that runs, then closes. */
  drain(): void {
    if (this.#isDraining) return;
    this.#isDraining = true;
    for (const { requestId } of this.#apply({ kind: "closed" })) this.#refuse(requestId, draining());
    if (this.#inputs.running === undefined) this.#close(GOING_AWAY, "the server is shutting down");
  }

  #receive({ data, isBinary }: SocketFrame): void {
    if (this.#isClosing || !this.#count()) return;
    this.totals.inputs += 1;
    let message: Message | undefined;
    try {
      message = decodeFrame({ data, isBinary });
      const input = readInput(message);
      if (this.#isDraining) throw draining();
      // Only now: what is wrong takes nobody's place.
      const coding = isBinary ? "msgpack" : "json";
      for (const old of this.#apply({ kind: "arrived", input: { ...input, coding, bytes: data.byteLength } }))
        this.#supersede(old);
    } catch (error) {
      this.#refuse(requestIdOf(message), error);
    }
  }

  /** False, and the connection ends, when there have been too many messages. */
  #count(): boolean {
    this.#idle.cancel();
    this.#idle = this.#idleTimer();
    if (this.#rate.take(performance.now())) return true;
    const message = `Only ${this.#options.messagesPerSecond} messages a second are taken from one connection.`;
    this.#refuse("", new LatentcastError("rate_limited", { message }));
    this.#close(POLICY_VIOLATION, "too many messages");
    return false;
  }

  async #work(): Promise<void> {
    const { signal } = this.#gone;
    const { turns, caller } = this.#options;
    while (!signal.aborted) {
      const pool = this.#nextPool;
      if (pool === undefined) {
        await this.#changes.next(signal);
        continue;
      }
      const turn = await turns.take({ caller, pool }, signal);
      if (turn === undefined) return;
      // What came meanwhile may name a model of another pool, where other turns count.
      if ((this.#nextPool ?? pool) !== pool) {
        turn.end();
        continue;
      }
      // The latest of now: others may have come, or the server may drain, while the turn was awaited.
      this.#apply({ kind: "taken" });
      const { running } = this.#inputs;
      if (running !== undefined) await this.#draw(running, turn);
      turn.end();
      this.#apply({ kind: "ended" });
      if (this.#isDraining) this.#close(GOING_AWAY, "the server is shutting down");
    }
  }

  /** Who would draw the input that waits longest; undefined while none waits. */
  get #nextPool(): string | undefined {
    const [next] = this.#inputs.waiting;
    return next === undefined ? undefined : this.#options.jobs.poolOf({ input: next.input });
  }

  /** Never rejects. */
  async #draw(input: Queued, turn: CallerTurn): Promise<void> {
    const { signal } = this.#gone;
    const { jobs, caller, begin, inputReader } = this.#options;
    const { image_url: _image, mask_url: _mask, ...plain } = input.input;
    const submission: Submission = {
      input: plain,
      id: randomUUID(),
      warnings: input.warnings,
      fit: fitSize,
      modelTimeoutMs: MODEL_TIMEOUT_MS,
    };
    let release: (() => void) | undefined;
    try {
      release = begin(caller);
      using admission = jobs.admit(submission);
      const opened = await inputReader.open({ ...input.input, image_bytes: input.imageBytes }, signal);
      if (signal.aborted || this.#inputs.isCancelling) {
        opened?.inputs.release();
        if (!signal.aborted) this.#supersede(input);
        return;
      }
      this.#job = jobs.submit({ ...submission, inputs: opened?.inputs }, admission);
      for await (const { event } of this.#job.follow({ signal })) await this.#send(this.#job, event, input, turn);
    } catch (error) {
      this.#refuse(input.requestId, error);
    } finally {
      this.#job = undefined;
      release?.();
    }
  }

  async #send({ seed }: Job, event: JobEvent, input: Queued, turn: CallerTurn): Promise<void> {
    const { requestId, coding, wantsUrl } = input;
    const form = imageForm(coding, wantsUrl);
    switch (event.kind) {
      case "preview":
        return this.#show(previewMessage(event, seed, requestId, form), coding);
      case "queued":
      case "started":
        return;
      case "progress":
        // Only its decoding is left: the caller's next job comes just in time.
        if (event.step === event.totalSteps - 1) turn.end();
        return;
      case "succeeded":
        await this.#show(resultMessage(event.result, requestId, form), coding);
        this.totals.results += 1;
        return;
      case "failed":
        return this.#refuse(requestId, event.error);
      case "cancelled":
        if (this.#gone.signal.aborted) return;
        if (this.#inputs.isCancelling && event.reason !== "shutdown") this.#supersede(input);
        else this.#refuse(requestId, terminalError(event));
    }
  }

  async #show(message: ImageMessage, coding: Coding): Promise<void> {
    await this.#socket.send(encodeImages(message, coding));
    this.#apply({ kind: "shown" });
  }

  /** @returns The inputs that will not run. */
  #apply(change: Parameters<typeof nextInputs<Queued>>[1]): readonly Queued[] {
    const { inputs, superseded, cancels } = nextInputs(this.#inputs, change);
    this.#inputs = inputs;
    if (cancels && this.#job !== undefined) this.#options.jobs.cancel(this.#job, "cancelled_by_client");
    this.#changes.announce();
    return superseded;
  }

  #supersede({ requestId }: Queued): void {
    this.totals.superseded += 1;
    this.#options.onSuperseded();
    void this.#socket.send(encodeControl(supersededMessage(requestId)));
  }

  #refuse(requestId: RequestId, error: unknown): void {
    void this.#socket.send(encodeControl(errorMessage(toLatentcastError(error), requestId)));
  }

  #idleTimer(): Timer {
    return after(
      this.#options.idleMs,
      () => {
        if (this.#inputs.running !== undefined || this.#inputs.waiting.length > 0) {
          this.#idle = this.#idleTimer();
          return;
        }
        void this.#socket.send(encodeControl(IDLE));
        this.#close(NORMAL, "idle");
      },
      { unref: true },
    );
  }

  #close(code: number, reason: string): void {
    if (this.#isClosing) return;
    this.#isClosing = true;
    this.#idle.cancel();
    this.#apply({ kind: "closed" });
    this.#socket.close(code, reason);
  }
}

function draining(): LatentcastError {
  return new LatentcastError("draining");
}
