/** The durable requests that this node works on: cancelled, asked about, given up or handed back together. */
import type { Delivery, Question, Subscription } from "../bus.ts";
import { DurableJob, type DurableJobPorts } from "./durable-job.ts";
import { feedQuestion, type FeedAnswer } from "./durable-wire.ts";
import { FEED } from "./feed-question.ts";
import type { HeldTickets } from "../node/held-tickets.ts";
import { cancellation, type Ticket } from "../wire.ts";

export interface DurableNodeOptions extends Omit<DurableJobPorts, "held"> {
  readonly node: string;
}

const NOT_HERE: FeedAnswer = { run: null, entries: [], preview: null, logs: [] };

export class DurableNode {
  readonly #options: DurableNodeOptions;
  readonly #jobs = new Map<string, DurableJob>();
  readonly #underWay = new Set<Promise<void>>();
  readonly #subscriptions: readonly Subscription[];

  constructor(options: DurableNodeOptions) {
    this.#options = options;
    const { bus, layout, node } = options;
    this.#subscriptions = [
      bus.subscribe(layout.cancel, ({ header }) => this.#cancel(header)),
      bus.subscribe(layout.toNode(node, FEED), (question) => this.#answer(question)),
    ];
  }

  /** Resolves when the ticket's job is among those of this machine, or will not be. */
  take(ticket: Ticket, delivery: Delivery, held: HeldTickets): Promise<void> {
    const known = this.#jobs.get(ticket.id);
    if (known !== undefined) return known.meet(delivery).catch((error: unknown) => this.#warn(ticket, error));
    const job = new DurableJob({ ...this.#options, held }, ticket, delivery);
    this.#jobs.set(ticket.id, job);
    return new Promise((onPlaced) => {
      const working = job.work(onPlaced).finally(() => {
        this.#jobs.delete(ticket.id);
        this.#underWay.delete(working);
      });
      this.#underWay.add(working);
    });
  }

  /** Whether the claims on what runs here still hold: each is renewed, and those that are lost are given up. */
  async renew(): Promise<void> {
    const leases = [...this.#jobs.values()].flatMap(({ live }) => live?.lease ?? []);
    await Promise.all(leases.map((lease) => lease.renew()));
  }

  /** What has not begun to be drawn is left to other nodes. */
  handBack(): void {
    for (const job of this.#jobs.values()) if (job.live?.job.state.kind !== "running") job.giveUp("shutdown");
  }

  /** This process was found dead: others do its work. */
  abandon(): void {
    for (const job of this.#jobs.values()) job.abandon();
  }

  /** Resolves when nothing is under way. */
  async idle(): Promise<void> {
    while (this.#underWay.size > 0) await Promise.all(this.#underWay);
  }

  close(): void {
    for (const subscription of this.#subscriptions) subscription.close();
  }

  #warn({ id }: Ticket, error: unknown): void {
    this.#options.log.warn({ requestId: id, err: error }, "a second ticket could not be acknowledged");
  }

  #cancel(header: unknown): void {
    const parsed = cancellation.safeParse(header);
    if (parsed.success) this.#jobs.get(parsed.data.id)?.giveUp("cancelled_by_client");
  }

  #answer({ header, reply }: Question): void {
    const parsed = feedQuestion.safeParse(header);
    const events = parsed.success ? this.#jobs.get(parsed.data.id)?.events : undefined;
    if (!parsed.success || events === undefined) return reply(NOT_HERE);
    const { run, after, rest } = parsed.data;
    if (rest !== undefined) return reply(NOT_HERE, run === events.run ? events.rest(rest) : Buffer.alloc(0));
    const { answer, payload } = events.since(run === events.run ? after : 0);
    return reply(answer, payload);
  }
}
