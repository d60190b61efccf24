/** A machine of the fleet that draws: it pulls tickets for its own workers, says what it holds, and is asked about it. */
import type { Logger } from "pino";
import { Changes } from "../../async/changes.ts";
import type { JobService } from "../../jobs/service.ts";
import { NoResponders, type Bus, type Delivery, type Subscription } from "../bus.ts";
import { GatewayLink } from "./gateway-link.ts";
import type { Fleet } from "../fleet/fleet.ts";
import { Heartbeats } from "../fleet/heartbeats.ts";
import { HeldTickets } from "./held-tickets.ts";
import type { Layout } from "../layout.ts";
import type { FleetObserver, TicketKind } from "../observer.ts";
import { NodeJob } from "./node-job.ts";
import { PoolMember } from "../pool/pool-member.ts";
import type { PoolFacts } from "../pool/pool-record.ts";
import { pullRule, type OtherDevice, type PullRule } from "./pull-rule.ts";
import { Puller } from "./puller.ts";
import {
  cancellation,
  isNewer,
  isSameRun,
  notWanted,
  ticket,
  WIRE_VERSION,
  type NodeBeat,
  type Ticket,
} from "../wire.ts";

/**
 * Runs a ticket whose request is in the state store, and says through the delivery whether it is done. Resolves when its job is among
 * those of this machine, or will not be.
 */
export type DurableTickets = (delivery: Delivery, ticket: Ticket, held: HeldTickets) => Promise<void>;

export interface NodeOptions {
  readonly bus: Bus;
  readonly layout: Layout;
  readonly fleet: Fleet;
  readonly jobs: Pick<JobService, "run" | "cancel" | "offer" | "loaded" | "snapshot">;
  readonly name: string;
  readonly incarnation: () => string;
  readonly version: string;
  readonly pool: string;
  readonly slots: number;
  readonly facts: Pick<PoolFacts, "shortcuts" | "maxBatch">;
  readonly log: Logger;
  readonly durable?: DurableTickets;
  readonly rule?: PullRule;
  readonly observer?: FleetObserver;
}

/** A part of an image beside its header, well below what a message may hold. */
const PART_SHARE = 0.75;
const CHECK_MS = 1_000;
/** A gateway that nobody hears is believed to be gone after the second time. */
const UNHEARD_CHECKS = 2;
const UNREADABLE_RETRY_MS = 2_000;

export class Node {
  readonly #options: NodeOptions;
  readonly #link: GatewayLink;
  readonly #puller: Puller;
  readonly #heartbeats: Heartbeats;
  /** One job may be here in two runs, while the older is on its way out. */
  readonly #jobs = new Set<NodeJob>();
  readonly #held = new HeldTickets(() => this.#heartbeats.changed());
  readonly #member: PoolMember;
  readonly #work = new Set<Promise<void>>();
  readonly #changes = new Changes();
  /** By gateway: checks in a row that nobody heard. */
  readonly #unheard = new Map<string, number>();
  #cancellations: Subscription | undefined;
  #checks: NodeJS.Timeout | undefined;

  constructor(options: NodeOptions) {
    const { bus, layout, pool, fleet, jobs, name, log } = options;
    this.#options = options;
    this.#link = new GatewayLink(bus, layout);
    this.#heartbeats = new Heartbeats({ bus, subject: layout.heartbeat, beat: () => this.beat });
    this.#member = new PoolMember({
      ...{ bus, layout, pool, log },
      facts: () => this.#facts(),
      hasOthers: () => fleet.ready(pool).some((node) => node.name !== name),
      onChange: () => {
        this.#heartbeats.changed();
        this.#puller.wake();
        this.#changes.announce();
      },
    });
    this.#puller = new Puller({
      bus,
      consumers: { n: layout.tickets(pool, "n"), l: layout.tickets(pool, "l") },
      rule: options.rule ?? pullRule,
      slots: options.slots,
      offer: () => jobs.offer,
      elsewhere: () => this.#elsewhere(),
      imageSteps: () => jobs.loaded?.model.default_steps ?? 1,
      isOpen: () => this.#member.standing.state === "ready",
      take: (delivery) => this.#take(delivery),
    });
  }

  start(): void {
    const { bus, layout } = this.#options;
    this.#cancellations = bus.subscribe(layout.cancel, ({ header }) => this.#cancel(header));
    this.#heartbeats.start();
    this.#puller.start();
    this.#checks = setInterval(() => this.#check(), CHECK_MS);
    void this.#member.join();
  }

  /** Why it takes no work, whatever its workers say; undefined while it does. */
  get problem(): string | undefined {
    const { fleet, pool } = this.#options;
    const { state, reason } = this.#member.standing;
    if (state !== "ready") return reason ?? `it takes no work of pool ${pool} yet`;
    return fleet.isHearing ? undefined : "the NATS servers do not answer";
  }

  /** Resolves when it takes the work of its pool, or when `signal` fires. */
  async joined(signal: AbortSignal): Promise<void> {
    while (this.#member.standing.state !== "ready" && !signal.aborted) await this.#changes.next(signal);
  }

  /** What a heartbeat says. */
  get beat(): NodeBeat {
    const { jobs, name, incarnation, version, pool, slots } = this.#options;
    const { loaded, offer } = jobs;
    const { state, reason, fingerprint } = this.#member.standing;
    const deviceNames = new Map(jobs.snapshot().workers.map(({ slot, device }) => [slot, device?.name ?? ""]));
    return {
      v: WIRE_VERSION,
      kind: "node",
      ...{ name, version, pool, slots },
      incarnation: incarnation(),
      reason,
      fingerprint,
      // Its workers may all be on their way back.
      state: state === "ready" && offer.devices.length === 0 ? "loading" : state,
      serving:
        loaded === undefined
          ? null
          : { model: loaded.model, preview_decoders: [...loaded.capabilities.preview_decoders] },
      devices: offer.devices.map((device) => ({
        slot: device.slot,
        name: deviceNames.get(device.slot) ?? "",
        rows: device.rows,
        step_seconds: device.stepSeconds,
        held: device.held,
        newcomers: device.newcomers,
        has_room: device.hasRoom,
        first_preview_seconds: device.firstPreviewSeconds,
        backlog_seconds: device.backlogSeconds,
      })),
      held: this.#held.list,
    };
  }

  /** What its devices hold, or how far that is, has changed. */
  wake(): void {
    this.#puller.wake();
  }

  /** Takes nothing more and hands back what has not begun; the rest is finished by whoever drains the jobs. */
  async retire(): Promise<void> {
    if (this.#member.standing.state !== "draining") this.#member.leave("draining");
    await this.#puller.stop();
    for (const job of this.#jobs) if (job.isWaiting) job.handBack();
  }

  /** After the jobs have ended: resolves when every end has been told. */
  async close(): Promise<void> {
    await this.retire();
    await Promise.allSettled(this.#work);
    clearInterval(this.#checks);
    this.#cancellations?.close();
    this.#member.leave("gone");
    this.#heartbeats.stop();
  }

  #facts(): PoolFacts | undefined {
    const { jobs, facts } = this.#options;
    const { loaded } = jobs;
    if (loaded === undefined) return undefined;
    const dtypes = jobs.snapshot().workers.flatMap(({ device }) => (device === undefined ? [] : [device.dtype]));
    const serving = { model: loaded.model, preview_decoders: [...loaded.capabilities.preview_decoders] };
    return { ...facts, serving, dtypes };
  }

  #elsewhere(): OtherDevice[] {
    const { fleet, pool, name } = this.#options;
    const devices = fleet.current(pool).flatMap((node) => (node.name === name ? [] : node.devices));
    return devices.map(({ has_room: hasRoom, step_seconds: stepSeconds, backlog_seconds: backlogSeconds }) => ({
      ...{ hasRoom, stepSeconds, backlogSeconds },
    }));
  }

  async #take(delivery: Delivery): Promise<void> {
    const { log, durable } = this.#options;
    const parsed = ticket.safeParse(delivery.header);
    if (!parsed.success) {
      log.warn({ subject: delivery.subject, err: parsed.error }, "a ticket of another version is left to others");
      return delivery.nak(UNREADABLE_RETRY_MS);
    }
    const { gateway } = parsed.data;
    this.#count(delivery, gateway === null ? "queued" : "direct");
    if (gateway !== null) return this.#begin(parsed.data, gateway, delivery);
    if (durable === undefined) return delivery.nak(UNREADABLE_RETRY_MS);
    await durable(delivery, parsed.data, this.#held).catch((error: unknown) => {
      log.error({ jobId: parsed.data.id, err: error }, "a request was given back");
      delivery.nak(UNREADABLE_RETRY_MS);
    });
  }

  #count({ deliveries, storedAtMs }: Delivery, kind: TicketKind): void {
    const { bus, observer } = this.#options;
    if (deliveries > 1) observer?.ticketRedelivered?.(kind);
    else observer?.ticketPulled?.(kind, Math.max(0, bus.now() - storedAtMs) / 1_000);
  }

  #begin(given: Ticket, gateway: string, delivery: Delivery): Promise<void> {
    const { bus, jobs, name, incarnation, log, observer } = this.#options;
    const partBytes = Math.floor(bus.maxPayload * PART_SHARE);
    const ports = { jobs, held: this.#held, link: this.#link, node: name, incarnation, partBytes, log, observer };
    const job = new NodeJob(ports, { ...given, gateway }, delivery);
    this.#jobs.add(job);
    return new Promise((resolve) => {
      const work = job.work(resolve).finally(() => {
        this.#work.delete(work);
        this.#jobs.delete(job);
      });
      this.#work.add(work);
    });
  }

  #cancel(header: unknown): void {
    const parsed = cancellation.safeParse(header);
    if (!parsed.success) return;
    const { id, run } = parsed.data;
    for (const job of this.#jobs) {
      if (job.id !== id) continue;
      if (run === undefined) job.giveUp("ended");
      else if (isNewer(run, job.run)) job.giveUp("superseded");
    }
  }

  /** Asks each gateway which of its jobs here it still wants: a cancellation may have been lost, the gateway may be gone. */
  #check(): void {
    const gateways = new Set([...this.#jobs].map(({ gateway }) => gateway));
    for (const gateway of this.#unheard.keys()) if (!gateways.has(gateway)) this.#unheard.delete(gateway);
    for (const gateway of gateways) void this.#checkWith(gateway);
  }

  async #checkWith(gateway: string): Promise<void> {
    const { bus, layout } = this.#options;
    const of = [...this.#jobs].filter((job) => job.gateway === gateway);
    const question = { v: WIRE_VERSION, runs: of.map(({ id, run }) => ({ id, run })) };
    try {
      const { header } = await bus.request(layout.checks(gateway), question, { timeoutMs: CHECK_MS });
      this.#unheard.delete(gateway);
      const { ended, superseded } = notWanted.parse(header);
      for (const job of of) {
        if (ended.includes(job.id)) job.giveUp("ended");
        if (superseded.some(({ id, run }) => id === job.id && isSameRun(run, job.run))) job.giveUp("superseded");
      }
    } catch (error) {
      if (!(error instanceof NoResponders)) return;
      const unheard = (this.#unheard.get(gateway) ?? 0) + 1;
      this.#unheard.set(gateway, unheard);
      if (unheard >= UNHEARD_CHECKS) for (const job of of) job.giveUp("ended");
    }
  }
}
