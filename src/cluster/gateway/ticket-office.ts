/** Makes the tickets of interactive jobs, and makes them again when the queue has lost them. */
import type { Logger } from "pino";
import type { Bus } from "../bus.ts";
import type { Layout, TicketClass } from "../layout.ts";
import type { RemoteJob } from "./remote-job.ts";
import { WIRE_VERSION, type RemoteRequest, type Ticket } from "../wire.ts";

export interface TicketOfficeOptions {
  readonly bus: Bus;
  readonly layout: Layout;
  readonly gateway: string;
  readonly log: Logger;
}

/** A ticket that nobody claims is looked for after this long, and again after as long. */
const LOOK_AFTER_MS = 3_000;
/** Each look is a question to the leader of the stream. */
const LOOKS_AT_ONCE = 16;

export class TicketOffice {
  readonly #options: TicketOfficeOptions;
  /** Tickets that were made again. */
  remade = 0;

  constructor(options: TicketOfficeOptions) {
    this.#options = options;
  }

  /** Resolves when the queue has it. Rejects like {@link Bus.put}. */
  async publish(remote: RemoteJob): Promise<void> {
    const { bus, layout, gateway } = this.#options;
    const { job, pool, request, attempt } = remote;
    const header: Ticket = {
      v: WIRE_VERSION,
      id: job.id,
      pool: pool.name,
      attempt,
      gateway,
      revision: null,
      traceparent: request.traceparent,
    };
    const payload = Buffer.from(JSON.stringify(toRemoteRequest(remote)));
    await bus.put(layout.streams.tickets, this.#subject(remote), header, payload, { id: `${job.id}.${attempt}` });
    remote.seenInQueueMs = performance.now();
  }

  /** Nobody may have the job, and its ticket is gone: another one, under a new id, since the queue would swallow the old one. */
  async publishAgain(remote: RemoteJob): Promise<void> {
    this.remade += 1;
    remote.attempt += 1;
    this.#options.log.warn({ jobId: remote.job.id, attempt: remote.attempt }, "the ticket of a job is made again");
    await this.publish(remote);
  }

  /** Looks for the tickets of jobs that nobody has claimed for a while. */
  async look(waiting: Iterable<RemoteJob>): Promise<void> {
    const nowMs = performance.now();
    const due = [...waiting].filter(({ seenInQueueMs }) => nowMs - seenInQueueMs > LOOK_AFTER_MS);
    await Promise.all(due.slice(0, LOOKS_AT_ONCE).map((remote) => this.#lookFor(remote)));
  }

  async #lookFor(remote: RemoteJob): Promise<void> {
    const { bus, layout, log } = this.#options;
    const { attempt } = remote;
    remote.seenInQueueMs = performance.now();
    try {
      const stored = await bus.get(layout.streams.tickets, this.#subject(remote));
      const isWaiting = remote.claim === undefined && remote.job.ended === undefined && remote.attempt === attempt;
      if (stored === undefined && isWaiting) await this.publishAgain(remote);
    } catch (error) {
      log.warn({ jobId: remote.job.id, err: error }, "the ticket of a job could not be looked for");
    }
  }

  #subject({ job, pool }: RemoteJob): string {
    const ticketClass: TicketClass = job.priority === "low" ? "l" : "n";
    return this.#options.layout.ticket(pool.name, ticketClass, job.id);
  }
}

function toRemoteRequest({ job, request }: RemoteJob): RemoteRequest {
  const { params, preview, inputs, outputFormat, outputQuality } = request;
  return {
    params,
    preview,
    output_format: outputFormat,
    output_quality: outputQuality ?? null,
    priority: job.priority,
    inputs:
      inputs === null
        ? null
        : { digests: { ...inputs.digests }, bytes: (inputs.frames ?? []).map(({ byteLength }) => byteLength) },
  };
}
