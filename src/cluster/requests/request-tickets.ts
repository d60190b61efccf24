/** Makes the tickets of durable requests. A ticket is a hint to nodes: the request is in the state store, whatever becomes of it. */
import type { Bus } from "../bus.ts";
import type { Layout } from "../layout.ts";
import { WIRE_VERSION, type Ticket } from "../wire.ts";

export interface RequestTicketsOptions {
  readonly bus: Bus;
  readonly layout: Layout;
}

export interface TicketedRequest {
  readonly id: string;
  /** Whose nodes run it. */
  readonly pool: string;
  readonly priority: "normal" | "low";
  readonly traceparent?: string | null;
}

const EMPTY = Buffer.alloc(0);

export class RequestTickets {
  readonly #options: RequestTicketsOptions;

  constructor(options: RequestTicketsOptions) {
    this.#options = options;
  }

  /**
   * @param number Counts the tickets of the request: the queue swallows an id that it knows, for two minutes after the ticket is gone too.
   * Rejects like {@link Bus.put}.
   */
  async publish(request: TicketedRequest, number: number): Promise<void> {
    const { bus, layout } = this.#options;
    const { id, pool } = request;
    const header: Ticket = {
      v: WIRE_VERSION,
      id,
      pool,
      attempt: number,
      gateway: null,
      revision: null,
      traceparent: request.traceparent ?? null,
    };
    await bus.put(layout.streams.tickets, this.#subject(request), header, EMPTY, { id: `${id}.${number}` });
  }

  /** Whether the queue has one, waiting or handed out. */
  async exists(request: TicketedRequest): Promise<boolean> {
    const { bus, layout } = this.#options;
    return (await bus.get(layout.streams.tickets, this.#subject(request))) !== undefined;
  }

  #subject({ id, pool, priority }: TicketedRequest): string {
    return this.#options.layout.ticket(pool, priority === "low" ? "l" : "n", id);
  }
}
