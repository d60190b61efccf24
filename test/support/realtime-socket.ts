/** A realtime socket without a network: the test is the client. */
import { decode, encode } from "@msgpack/msgpack";
import type { Socket, SocketHandlers } from "../../src/http/realtime/sockets.ts";
import type { SocketFrame } from "../../src/http/realtime/coding.ts";

export interface Received {
  readonly isBinary: boolean;
  readonly message: Record<string, unknown>;
}

export class MemorySocket implements Socket {
  readonly received: Received[] = [];
  /** How the server closed it. */
  closedWith: number | undefined;
  /** Whether frames leave at once; a slow reader takes them when the test says so. */
  isSlow = false;
  readonly #held: (() => void)[] = [];
  #handlers: SocketHandlers | undefined;

  listen(handlers: SocketHandlers): void {
    this.#handlers = handlers;
  }

  send({ data, isBinary }: SocketFrame): Promise<void> {
    const message = (isBinary ? decode(data) : JSON.parse(data.toString())) as Record<string, unknown>;
    this.received.push({ isBinary, message });
    return this.isSlow ? new Promise((resolve) => this.#held.push(resolve)) : Promise.resolve();
  }

  close(code: number): void {
    this.closedWith = code;
    this.#handlers?.closed(code);
  }

  /** The client reads what it was sent. */
  read(): void {
    for (const resolve of this.#held.splice(0)) resolve();
  }

  say(message: unknown): void {
    this.#handlers?.message({ data: Buffer.from(encode(message)), isBinary: true });
  }

  text(text: string): void {
    this.#handlers?.message({ data: Buffer.from(text), isBinary: false });
  }

  ping(): void {
    this.#handlers?.pinged();
  }

  leave(): void {
    this.#handlers?.closed(1_006);
  }

  /** Messages without what tests of order do not look at. */
  get summary(): string[] {
    return this.received.map(({ message }) => {
      const id = String(message["request_id"]);
      if ("error" in message) return `${id}: ${String(message["error"])}`;
      if ("action" in message) return `${id}: ${String(message["action"])}`;
      return `${id}: ${"preview" in message ? "preview" : "result"}`;
    });
  }
}
