/** Makes the tickets of durable requests. A ticket is a hint to nodes: the request is in the state store, whatever becomes of it. */
import type { Bus } from "../bus.ts";
import type { Layout } from "../layout.ts";
import { WIRE_VERSION, type Ticket } from "../wire.ts";

export interface RequestTicketsOptions {
  readonly bus: Bus;
  readonly layout: Layout;
  /** Which pool draws for a model, as clients name it. */
  readonly poolOf: (app: string) => string;
}

export interface TicketedRequest {
  readonly id: string;
  readonly app: string;
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
    const { id } = request;
    const header: Ticket = {
      v: WIRE_VERSION,
      id,
      pool: this.#options.poolOf(request.app),
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

  #subject({ id, app, priority }: TicketedRequest): string {
    const { layout, poolOf } = this.#options;
    return layout.ticket(poolOf(app), priority === "low" ? "l" : "n", id);
  }
}
