/**
 * One durable request on a node: claimed in the state store, drawn by this machine's workers, its end kept there before anybody hears of
 * it. Its ticket is a hint, acknowledged only when the request has ended: the claim is what this node has, and a holder that lost its
 * claim must not acknowledge what another one works on.
 */
import type { Logger } from "pino";
import { pause } from "../../async/timer.ts";
import { LatentcastError, toLatentcastError, type ErrorCode } from "../../errors.ts";
import type { CancelReason } from "../../jobs/events.ts";
import type { Jobs } from "../../jobs/jobs.ts";
import type { LiveRequest } from "../../requests/live-request.ts";
import { refuseHopeless, type RequestRunner } from "../../requests/runner.ts";
import type { Claim, StoredRequest } from "../../storage/request-store.ts";
import type { Bus, Delivery } from "../bus.ts";
import { DurableEvents } from "./durable-events.ts";
import type { FleetRequestStore } from "../storage/fleet-requests.ts";
import type { HeldTickets } from "../node/held-tickets.ts";
import type { Layout } from "../layout.ts";
import type { FleetObserver } from "../observer.ts";
import type { Whereabouts } from "./whereabouts.ts";
import type { Ticket } from "../wire.ts";

export interface DurableJobPorts {
  readonly jobs: Pick<Jobs, "cancel">;
  readonly runner: RequestRunner;
  readonly store: FleetRequestStore;
  readonly bus: Bus;
  readonly layout: Layout;
  /** Whose requests this node draws. */
  readonly pool: string;
  readonly held: HeldTickets;
  /** Signs the claims of this process. */
  readonly owner: () => string;
  readonly whereabouts: (holder: string, id: string) => Promise<Whereabouts>;
  /** Bytes of an image that go into one message. */
  readonly partBytes: number;
  readonly log: Logger;
  readonly observer?: FleetObserver | undefined;
}

type WonClaim = Claim & Pick<StoredRequest, "request">;

/**
 * Deaths are certified, and a claim is taken from the dead at once. What is left is a backstop, far longer than any image takes: a lease
 * that runs out under a holder that is cut off would only make double work.
 */
export const CLAIM_MS = 24 * 3_600_000;
/** Somebody else has it: whether that lasts is looked at again. */
const HOLDER_PATIENCE_MS = 5_000;
const RETRY_MS = 2_000;
/** What a request fails with; any other error is of this node or of the servers, and another try may succeed. */
const FINAL: ReadonlySet<ErrorCode> = new Set(["invalid_request", "worker_crashed"]);

export class DurableJob {
  readonly id: string;
  readonly #ports: DurableJobPorts;
  readonly #ticket: Ticket;
  #delivery: Delivery;
  #live: LiveRequest | undefined;
  #events: DurableEvents | undefined;
  readonly #stopped = new AbortController();
  #givenUp: CancelReason | undefined;
  #isAbandoned = false;

  constructor(ports: DurableJobPorts, ticket: Ticket, delivery: Delivery) {
    this.#ports = ports;
    this.#ticket = ticket;
    this.#delivery = delivery;
    this.id = ticket.id;
  }

  /** Undefined until it is claimed and among the jobs of this machine. */
  get live(): LiveRequest | undefined {
    return this.#live;
  }

  get events(): DurableEvents | undefined {
    return this.#events;
  }

  /** @param onPlaced Called when the job is among those of this machine, or will not be. */
  async work(onPlaced: () => void): Promise<void> {
    const { held, log, observer } = this.#ports;
    const beganMs = performance.now();
    const holding = held.hold(this.id, this.#ticket.attempt, this.#delivery);
    try {
      const claim = await this.#claimPatiently(onPlaced);
      if (claim === undefined) return;
      observer?.ticketClaimed?.("queued", (performance.now() - beganMs) / 1_000);
      this.#live = await this.#start(claim);
      onPlaced();
      if (this.#live === undefined) return;
      if (this.#givenUp !== undefined) this.#ports.jobs.cancel(this.#live.job, this.#givenUp);
      await this.#follow(this.#live, claim.revision);
    } catch (error) {
      log.warn({ requestId: this.id, err: error }, "a request is given back");
      this.#giveBack(RETRY_MS);
    } finally {
      holding.release();
      onPlaced();
    }
  }

  /** It is not to be drawn here, be it claimed yet or not. */
  giveUp(reason: CancelReason): void {
    this.#givenUp ??= reason;
    this.#stopped.abort();
    if (this.#live !== undefined) this.#ports.jobs.cancel(this.#live.job, reason);
  }

  /** This process was found dead: the ticket is somebody else's now, who must not be disturbed. */
  abandon(): void {
    this.#isAbandoned = true;
    this.giveUp("shutdown");
  }

  /** Its ticket came to this node again: the lease on it had run out, or a duplicate was made. */
  async meet(delivery: Delivery): Promise<void> {
    if (delivery.sequence === this.#delivery.sequence) this.#delivery = delivery;
    else await delivery.ack();
  }

  /** A claim whose answer was lost may have been won: until that is known, nobody else is to have the ticket. */
  async #claimPatiently(onPlaced: () => void): Promise<WonClaim | undefined> {
    while (true) {
      try {
        return await this.#claim();
      } catch (error) {
        const isUnanswered = error instanceof LatentcastError && error.code === "overloaded";
        if (!isUnanswered || this.#givenUp !== undefined) throw error;
      }
      onPlaced();
      await pause(RETRY_MS, this.#stopped.signal);
    }
  }

  /** Undefined when there is nothing to do, or somebody else does it; the ticket is dealt with then. */
  async #claim(): Promise<WonClaim | undefined> {
    const { store, owner, pool } = this.#ports;
    const stored = await store.find(this.id);
    if (stored === undefined) return this.#recordless();
    if (stored.result !== null) return this.#done();
    const { request, holder } = stored;
    // A gateway that knew one pool only made this ticket. Another gateway makes one for the right pool.
    if ((request.pool ?? pool) !== pool) return this.#done();
    if (holder !== null && holder !== owner() && !(await this.#mayTakeFrom(holder))) return undefined;
    const claim = await store.claim(this.id, owner(), CLAIM_MS, holder ?? undefined);
    switch (claim) {
      case "ended":
        return this.#done();
      case "unknown":
        return this.#recordless();
      case "held":
        this.#delivery.nak(HOLDER_PATIENCE_MS);
        return undefined;
      default:
        return { ...claim, request };
    }
  }

  /** A record that is gone had ended; a leader that was suspended does not know the newest ones. Were it wrong twice, the reconciler would see. */
  async #recordless(): Promise<undefined> {
    if (this.#delivery.deliveries > 1) return this.#done();
    this.#delivery.nak(RETRY_MS);
    return undefined;
  }

  async #done(): Promise<undefined> {
    await this.#delivery.ack();
    return undefined;
  }

  async #mayTakeFrom(holder: string): Promise<boolean> {
    const isRedelivered = this.#delivery.deliveries > 1;
    switch (await this.#ports.whereabouts(holder, this.id)) {
      case "dead":
        return true;
      case "idle":
        // It may have claimed the request a moment ago, and not said so yet.
        if (isRedelivered) return true;
        this.#delivery.nak(RETRY_MS);
        return false;
      case "silent":
        // Until its death is certified, it may be this node that hears nothing.
        this.#delivery.nak(RETRY_MS);
        return false;
      case "holding":
        // The first time it is a duplicate. Later it is the holder's own, whose lease ran out unnoticed: while it works, it is not disturbed.
        if (isRedelivered) this.#delivery.nak(HOLDER_PATIENCE_MS);
        else await this.#delivery.ack();
        return false;
    }
  }

  /** Undefined when the request cannot run here; the ticket is dealt with then. */
  async #start(claim: WonClaim): Promise<LiveRequest | undefined> {
    const { runner, store } = this.#ports;
    const { request } = claim;
    try {
      refuseHopeless(claim.attempt - 1);
      return runner.start(request, { claim, inputs: await runner.reopen(request) });
    } catch (error) {
      if (!(error instanceof LatentcastError) || !FINAL.has(error.code)) {
        await store.release(claim);
        throw error;
      }
      await runner.endUnrun(this.id, toLatentcastError(error), claim);
      return this.#done();
    }
  }

  async #follow(live: LiveRequest, run: number): Promise<void> {
    const { bus, layout, partBytes } = this.#ports;
    const events = new DurableEvents({ bus, layout, live, run, partBytes });
    this.#events = events;
    for await (const entry of live.job.follow()) events.tell(entry);
    const settled = await live.settled;
    events.tellOver();
    if (live.lease?.isLost === true || this.#isAbandoned) this.#ports.observer?.runWasted?.(live.job);
    // Whoever ended it: nobody needs the ticket.
    if (settled?.kind === "ended") await this.#delivery.ack();
    else if (live.lease?.isLost !== true) this.#giveBack(0);
  }

  #giveBack(delayMs: number): void {
    if (!this.#isAbandoned) this.#delivery.nak(delayMs);
  }
}
