/** Permission to upload one file, as a signed part of a URL: nothing is kept until the bytes arrive. */
import { createHmac, randomBytes, timingSafeEqual } from "node:crypto";

export interface Ticket {
  readonly key: string;
  readonly contentType: string;
  /** Of a monotonic clock, such as `performance.now()`: tickets are for this process only. */
  readonly expiresAtMs: number;
}

export class UploadTickets {
  /** Tickets are for the next minutes; none has to outlive the process. */
  readonly #secret = randomBytes(32);

  /** The query of the upload URL. */
  sign(ticket: Ticket): string {
    const { contentType, expiresAtMs } = ticket;
    return new URLSearchParams({
      type: contentType,
      expires: String(expiresAtMs),
      signature: this.#signature(ticket),
    }).toString();
  }

  /** Undefined unless this ticket was given out, and is still good. */
  check(key: string, query: Readonly<Record<string, string | undefined>>, nowMs: number): Ticket | undefined {
    const { type = "", expires = "", signature = "" } = query;
    const ticket = { key, contentType: type, expiresAtMs: Number(expires) };
    const expected = Buffer.from(this.#signature(ticket));
    const given = Buffer.from(signature);
    if (given.byteLength !== expected.byteLength || !timingSafeEqual(given, expected)) return undefined;
    return ticket.expiresAtMs > nowMs ? ticket : undefined;
  }

  #signature({ key, contentType, expiresAtMs }: Ticket): string {
    return createHmac("sha256", this.#secret)
      .update(JSON.stringify([key, contentType, expiresAtMs]))
      .digest("base64url");
  }
}
