/** What nodes say and ask about the interactive jobs of this gateway. */
import type { Logger } from "pino";
import type { z } from "zod";
import type { TerminalEvent } from "../../jobs/events.ts";
import { jobResult } from "../../jobs/result.ts";
import type { Bus, Question, Subscription } from "../bus.ts";
import type { Layout } from "../layout.ts";
import type { RemoteJob } from "./remote-job.ts";
import {
  fromWireError,
  holding,
  inputQuestion,
  isNewer,
  jobMessage,
  type JobMessage,
  type JobMessageOf,
  type notWanted,
  type verdict,
} from "../wire.ts";

export interface InboxOptions {
  readonly bus: Bus;
  readonly layout: Layout;
  readonly gateway: string;
  readonly log: Logger;
  /** A job that has not ended. */
  readonly find: (id: string) => RemoteJob | undefined;
  /** A node has it now. */
  readonly onClaimed: (remote: RemoteJob, node: string) => void;
  readonly onStarted: (remote: RemoteJob) => void;
  readonly onPreview: () => void;
  /** It waits again: its node gives it back, or begins it again. */
  readonly onRequeued: (remote: RemoteJob) => void;
  readonly onEnded: (remote: RemoteJob, event: TerminalEvent) => void;
}

type Answer = z.input<typeof verdict>;

const GO: Answer = { verdict: "go" };
const STOP: Answer = { verdict: "stop" };

export class GatewayInbox {
  readonly #options: InboxOptions;
  readonly #subscriptions: Subscription[] = [];

  constructor(options: InboxOptions) {
    this.#options = options;
  }

  open(): void {
    const { bus, layout, gateway } = this.#options;
    this.#subscriptions.push(
      bus.subscribe(layout.everythingTo(gateway), (message) => this.#hear(message)),
      bus.subscribe(layout.checks(gateway), (question) => this.#check(question)),
      bus.subscribe(layout.inputsOf(gateway), (question) => this.#inputs(question)),
    );
  }

  close(): void {
    for (const subscription of this.#subscriptions) subscription.close();
  }

  #hear({ header, payload, reply }: Question): void {
    const parsed = jobMessage.safeParse(header);
    if (!parsed.success) {
      this.#options.log.warn({ err: parsed.error }, "a node said something that this version does not know");
      return;
    }
    const message = parsed.data;
    const remote = this.#options.find(message.id);
    if (remote === undefined) return reply(STOP);
    if (message.kind === "claimed") return reply(this.#claimed(remote, message));
    if (!remote.isCurrent(message.run)) return reply(STOP);
    remote.heard(performance.now());
    reply(this.#told(remote, message, payload));
  }

  #claimed(remote: RemoteJob, { node, incarnation, run, ack }: JobMessageOf<"claimed">): Answer {
    if (!remote.claimed({ node, incarnation, run, ack }, performance.now())) return STOP;
    this.#options.onClaimed(remote, node);
    return { ...GO, deaths: remote.deaths };
  }

  #told(remote: RemoteJob, message: Exclude<JobMessage, { kind: "claimed" }>, payload: Buffer): Answer {
    const { job } = remote;
    switch (message.kind) {
      case "started":
        this.#begin(remote, message.total_steps);
        return GO;
      case "progress":
        this.#begin(remote, message.total_steps);
        job.progress(message.step);
        return GO;
      case "queued":
        job.requeue();
        this.#options.onRequeued(remote);
        return GO;
      case "preview": {
        this.#begin(remote, message.total_steps);
        const images = remote.previewPart(message, payload);
        if (images === undefined) return GO;
        job.preview(
          { kind: "preview", step: message.step, totalSteps: message.total_steps, images },
          performance.now(),
        );
        this.#options.onPreview();
        return GO;
      }
      case "result":
        remote.resultPart(message, payload);
        return GO;
      case "ended":
        return this.#ended(remote, message.end);
    }
  }

  /** That it has started may have been lost; whatever follows says it too. */
  #begin(remote: RemoteJob, totalSteps: number): void {
    if (remote.job.state.kind !== "queued") return;
    remote.job.start(performance.now(), totalSteps);
    this.#options.onStarted(remote);
  }

  #ended(remote: RemoteJob, end: JobMessageOf<"ended">["end"]): Answer {
    const { onRequeued, onEnded } = this.#options;
    if (end.kind === "released") {
      remote.returned(performance.now());
      onRequeued(remote);
      return GO;
    }
    if (end.kind === "failed") {
      onEnded(remote, { kind: "failed", error: fromWireError(end.error) });
      return GO;
    }
    const images = remote.resultImages;
    if (images?.length !== end.images) return { verdict: "again" };
    const result = jobResult(remote.job, remote.request, { warnings: end.warnings }, images, performance.now());
    onEnded(remote, { kind: "succeeded", result });
    return GO;
  }

  #check({ header, reply }: Question): void {
    const parsed = holding.safeParse(header);
    if (!parsed.success) return;
    const answer: z.infer<typeof notWanted> = { ended: [], superseded: [] };
    for (const { id, run } of parsed.data.runs) {
      const remote = this.#options.find(id);
      if (remote === undefined) answer.ended.push(id);
      else if (isNewer(remote.newest, run)) answer.superseded.push({ id, run });
      else if (remote.isCurrent(run)) remote.heard(performance.now());
    }
    reply(answer);
  }

  #inputs({ header, reply }: Question): void {
    const parsed = inputQuestion.safeParse(header);
    if (!parsed.success) return;
    const { id, from, length } = parsed.data;
    const frames = this.#options.find(id)?.request.inputs?.frames;
    reply({}, frames === undefined ? Buffer.alloc(0) : slice(frames, from, length));
  }
}

/** Of the frames one after the other, without putting them together. */
function slice(frames: readonly Buffer[], from: number, length: number): Buffer {
  const pieces: Buffer[] = [];
  let start = 0;
  for (const frame of frames) {
    pieces.push(frame.subarray(Math.max(0, from - start), Math.max(0, from + length - start)));
    start += frame.byteLength;
  }
  const [only] = pieces.filter(({ byteLength }) => byteLength === length);
  return only ?? Buffer.concat(pieces);
}
