/**
 * One interactive job on a node: asked for, drawn by this machine's workers, told to its gateway as it goes, delivered. The gateway
 * decides which run of a job counts; this node acknowledges the ticket only when the gateway has taken the end.
 */
import type { Logger } from "pino";
import { LatentcastError, toLatentcastError } from "../../errors.ts";
import { InputImages } from "../../images/inputs.ts";
import { isTerminal, terminalError, type EncodedImage, type JobEvent, type TerminalEvent } from "../../jobs/events.ts";
import type { Job } from "../../jobs/job.ts";
import type { JobRequest } from "../../jobs/request.ts";
import type { ResolvedJob } from "../../jobs/service.ts";
import type { Delivery } from "../bus.ts";
import { GatewayGone, type GatewayLink } from "./gateway-link.ts";
import type { HeldTickets } from "./held-tickets.ts";
import type { FleetObserver } from "../observer.ts";
import { cutImages, type PartOfImage } from "../image-parts.ts";
import {
  remoteRequest,
  toWireError,
  WIRE_VERSION,
  type JobMessage,
  type JobMessageOf,
  type RemoteRequest,
  type RunNumber,
  type Ticket,
} from "../wire.ts";

export interface NodeJobPorts {
  readonly jobs: {
    run(job: ResolvedJob): Job;
    cancel(job: Job, reason: "cancelled_by_client" | "shutdown"): boolean;
  };
  readonly link: GatewayLink;
  readonly held: HeldTickets;
  readonly node: string;
  readonly incarnation: () => string;
  /** Bytes of an image that go into one message. */
  readonly partBytes: number;
  readonly log: Logger;
  readonly observer?: FleetObserver | undefined;
}

export type InteractiveTicket = Ticket & { readonly gateway: string };

/** Parts of a result that are on their way at once. */
const WINDOW = 4;
/** After this many nodes that died with it, a job runs alone. */
const SUSPECT_DEATHS = 2;
const RETRY_MS = 2_000;

/** Why a job here is given up: it ended at the gateway, or somebody else runs it. */
type GivenUp = "ended" | "superseded";

export class NodeJob {
  readonly id: string;
  readonly gateway: string;
  readonly run: RunNumber;
  readonly #ports: NodeJobPorts;
  readonly #ticket: InteractiveTicket;
  readonly #delivery: Delivery;
  #job: Job | undefined;
  #givenUp: GivenUp | undefined;

  constructor(ports: NodeJobPorts, ticket: InteractiveTicket, delivery: Delivery) {
    this.#ports = ports;
    this.#ticket = ticket;
    this.#delivery = delivery;
    this.id = ticket.id;
    this.gateway = ticket.gateway;
    this.run = { attempt: ticket.attempt, delivery: delivery.deliveries };
  }

  /** Whether this node has not begun to draw it. */
  get isWaiting(): boolean {
    return this.#job === undefined || this.#job.state.kind === "queued";
  }

  /** @param onPlaced Called when the job is among those of this machine, or will not be. */
  async work(onPlaced: () => void): Promise<void> {
    const held = this.#ports.held.hold(this.id, this.run.attempt, this.#delivery);
    try {
      const job = await this.#begin();
      onPlaced();
      if (job === undefined) return;
      await this.#follow(job);
    } catch (error) {
      if (error instanceof GatewayGone) return await this.#delivery.ack();
      // The ticket is handed out again, to whoever asks next.
      this.#ports.log.warn({ jobId: this.id, err: error }, "a job of a gateway is given back");
      if (this.#job !== undefined) this.#ports.jobs.cancel(this.#job, "shutdown");
      this.#delivery.nak(RETRY_MS);
    } finally {
      held.release();
      onPlaced();
    }
  }

  /** The gateway does not need it from this node. */
  giveUp(why: GivenUp): void {
    this.#givenUp ??= why;
    if (this.#job !== undefined) this.#ports.jobs.cancel(this.#job, "cancelled_by_client");
  }

  /** It is left to other nodes. */
  handBack(): void {
    if (this.#job !== undefined) this.#ports.jobs.cancel(this.#job, "shutdown");
  }

  /** Undefined when there is nothing to do. */
  async #begin(): Promise<Job | undefined> {
    const { link, node, incarnation, jobs, observer } = this.#ports;
    const beganMs = performance.now();
    const ack = this.#delivery.ackSubject;
    const answer = await link.ask(this.gateway, { ...this.#header("claimed"), node, incarnation: incarnation(), ack });
    if (answer.verdict !== "go") {
      await this.#delivery.ack();
      return undefined;
    }
    observer?.ticketClaimed?.("direct", (performance.now() - beganMs) / 1_000);
    const asked = remoteRequest.parse(JSON.parse(this.#delivery.payload.toString()));
    const request = await this.#toRequest(asked);
    if (request === undefined) {
      // The gateway has given its images up: the job has ended there.
      await this.#delivery.ack();
      return undefined;
    }
    // Asked to stop while the images came.
    if (this.#givenUp !== undefined) {
      if (this.#givenUp === "ended") await this.#delivery.ack();
      return undefined;
    }
    const deaths = answer.deaths >= SUSPECT_DEATHS ? 1 : 0;
    this.#job = jobs.run({ id: this.#localId, request, priority: asked.priority, deaths });
    return this.#job;
  }

  async #toRequest({ params, preview, inputs, ...asked }: RemoteRequest): Promise<JobRequest | undefined> {
    const images = inputs === null ? null : await this.#openInputs(params, inputs);
    if (images === undefined) return undefined;
    return {
      params,
      preview,
      inputs: images,
      outputFormat: asked.output_format,
      outputQuality: asked.output_quality ?? undefined,
      // Those of the request are the gateway's to tell.
      warnings: [],
      traceparent: this.#ticket.traceparent,
    };
  }

  async #openInputs(
    { width, height }: { readonly width: number; readonly height: number },
    { bytes, digests }: NonNullable<RemoteRequest["inputs"]>,
  ): Promise<InputImages | undefined> {
    const total = bytes.reduce((sum, length) => sum + length, 0);
    const all = await this.#ports.link.inputs(this.gateway, this.id, total);
    if (all === undefined) return undefined;
    const [imageBytes = 0] = bytes;
    const image = { bytes: all.subarray(0, imageBytes), width, height };
    const mask = bytes.length === 1 ? null : { bytes: all.subarray(imageBytes), width, height };
    return new InputImages({ image, mask, digests });
  }

  async #follow(job: Job): Promise<void> {
    for await (const { event } of job.follow()) {
      if (isTerminal(event)) await this.#end(job, event);
      else this.#tell(event);
    }
  }

  #tell(event: Exclude<JobEvent, TerminalEvent>): void {
    const { link, partBytes } = this.#ports;
    switch (event.kind) {
      case "queued":
        // Before it has begun that is no news to the gateway, which knows all places.
        if (this.#job?.startedAtMs !== undefined) link.tell(this.gateway, this.#header("queued"));
        return;
      case "started":
        return link.tell(this.gateway, { ...this.#header("started"), total_steps: event.totalSteps });
      case "progress":
        return link.tell(this.gateway, {
          ...this.#header("progress"),
          step: event.step,
          total_steps: event.totalSteps,
        });
      case "preview":
        for (const { part, bytes } of cutImages(event.images, partBytes)) {
          const header = { ...this.#header("preview"), step: event.step, total_steps: event.totalSteps, part };
          link.tell(this.gateway, header, bytes);
        }
    }
  }

  async #end(job: Job, event: TerminalEvent): Promise<void> {
    const { observer } = this.#ports;
    if (this.#givenUp === "ended") return this.#delivery.ack();
    if (this.#givenUp === "superseded") return observer?.runWasted?.(job);
    if (event.kind === "succeeded") {
      const { images, warnings } = event.result;
      await this.#deliver(images);
      return this.#settle(job, { kind: "succeeded", images: images.length, warnings: [...warnings] });
    }
    if (event.kind === "cancelled" && event.reason === "shutdown") {
      await this.#ports.link.ask(this.gateway, { ...this.#header("ended"), end: { kind: "released" } });
      return this.#delivery.nak();
    }
    return this.#settle(job, { kind: "failed", error: toWireError(toLatentcastError(terminalError(event))) });
  }

  /** Every part of the result, each until the gateway has it. */
  async #deliver(images: readonly EncodedImage[]): Promise<void> {
    const parts = cutImages(images, this.#ports.partBytes);
    const send = async (): Promise<void> => {
      for (let next = parts.shift(); next !== undefined; next = parts.shift()) await this.#sendPart(next);
    };
    await Promise.all(Array.from({ length: WINDOW }, send));
  }

  async #sendPart({ part, bytes }: PartOfImage): Promise<void> {
    await this.#ports.link.ask(this.gateway, { ...this.#header("result"), part }, bytes);
  }

  async #settle(job: Job, end: JobMessageOf<"ended">["end"]): Promise<void> {
    const { verdict } = await this.#ports.link.ask(this.gateway, { ...this.#header("ended"), end });
    if (verdict === "again") throw new LatentcastError("internal_error", { cause: "the gateway lacks a part" });
    // Refused: another run of it counts, and its holder has the ticket now.
    if (verdict === "go") await this.#delivery.ack();
    else this.#ports.observer?.runWasted?.(job);
  }

  /** An earlier run of the same job may still be on its way out here. */
  get #localId(): string {
    const { attempt, delivery } = this.run;
    return attempt === 1 && delivery === 1 ? this.id : `${this.id}.${attempt}.${delivery}`;
  }

  #header<Kind extends JobMessage["kind"]>(
    kind: Kind,
  ): { v: typeof WIRE_VERSION; id: string; run: RunNumber; kind: Kind } {
    return { v: WIRE_VERSION, id: this.id, run: this.run, kind };
  }
}
