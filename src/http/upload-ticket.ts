/** Permission to upload one file, as a signed part of a URL: nothing is kept until the bytes arrive. */
import { createHmac, randomBytes, timingSafeEqual } from "node:crypto";

export interface UploadTicket {
  readonly key: string;
  readonly contentType: string;
  /** Of the tickets' clock. */
  readonly expiresAtMs: number;
}

export interface UploadTicketsOptions {
  /** Whoever has it accepts the tickets. */
  readonly secret: Buffer;
  /** Milliseconds, of a clock that never steps back and is the same for everybody who has the secret. */
  readonly now: () => number;
}

export class UploadTickets {
  readonly #options: UploadTicketsOptions;

  constructor(options: UploadTicketsOptions) {
    this.#options = options;
  }

  /** Tickets are for the next minutes: none has to outlive the process. */
  static ofThisProcess(): UploadTickets {
    return new UploadTickets({ secret: randomBytes(32), now: () => performance.now() });
  }

  /** The query of the upload URL. */
  issue(key: string, contentType: string, lifeMs: number): string {
    const ticket = { key, contentType, expiresAtMs: this.#options.now() + lifeMs };
    return new URLSearchParams({
      type: contentType,
      expires: String(ticket.expiresAtMs),
      signature: this.#signature(ticket),
    }).toString();
  }

  /** Undefined unless this ticket was given out, and is still good. */
  check(key: string, query: Readonly<Record<string, string | undefined>>): UploadTicket | undefined {
    const { type = "", expires = "", signature = "" } = query;
    const ticket = { key, contentType: type, expiresAtMs: Number(expires) };
    const expected = Buffer.from(this.#signature(ticket));
    const given = Buffer.from(signature);
    if (given.byteLength !== expected.byteLength || !timingSafeEqual(given, expected)) return undefined;
    return ticket.expiresAtMs > this.#options.now() ? ticket : undefined;
  }

  #signature({ key, contentType, expiresAtMs }: UploadTicket): string {
    return createHmac("sha256", this.#options.secret)
      .update(JSON.stringify([key, contentType, expiresAtMs]))
      .digest("base64url");
  }
}
