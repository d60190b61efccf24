/** Who wants to count what happens between the machines of a fleet, and what it can ask about the servers between them. */
import type { Job } from "../jobs/job.ts";

/** A direct request has its client's connection, a queued one a record. */
export type TicketKind = "direct" | "queued";

/** Called synchronously; must not throw. */
export interface FleetObserver {
  /** A node has a ticket for the first time. @param seconds For which the ticket was in the queue. */
  ticketPulled?(kind: TicketKind, seconds: number): void;
  /** A node has a ticket that was handed out before. */
  ticketRedelivered?(kind: TicketKind): void;
  /** A node may begin what a ticket names. @param seconds Since it has the ticket. */
  ticketClaimed?(kind: TicketKind, seconds: number): void;
  /** The first ticket of an accepted queued request could not be put into the queue; it is tried again. */
  ticketFailed?(pool: string): void;
  /** The ticket of a queued request was lost and is made again. */
  requestReticketed?(): void;
  /** What this node drew is thrown away: another run of the same job counts. */
  runWasted?(job: Job): void;
  /** A write to a stream was refused, since another process's came first. */
  raceLost?(stream: string): void;
}

export interface StreamReading {
  readonly stream: string;
  readonly bytes: number;
  /** Infinity where there is no limit. */
  readonly maxBytes: number;
  readonly awayServers: number;
}

/** Without what was not answered in time. */
export interface ServerReading {
  readonly roundTripSeconds: number | undefined;
  readonly streams: readonly StreamReading[];
}
