/** A realtime client that sees everything that comes over the wire. */
import { once } from "node:events";
import { decode, encode } from "@msgpack/msgpack";
import { WebSocket } from "ws";
import { eventually } from "./eventually.ts";
import type { Received } from "./realtime-socket.ts";

export interface RealtimeClientOptions {
  /** With a query. */
  readonly path?: string;
  readonly headers?: Readonly<Record<string, string>>;
}

export class RealtimeClient implements AsyncDisposable {
  readonly socket: WebSocket;
  readonly received: Received[] = [];
  /** Resolves with the code of the close frame, or 1006. */
  readonly closed: Promise<number>;

  private constructor(socket: WebSocket) {
    this.socket = socket;
    this.closed = new Promise((resolve) => socket.once("close", resolve));
    socket.on("error", () => undefined);
    socket.on("message", (data: Buffer, isBinary) => {
      const message = (isBinary ? decode(data) : JSON.parse(data.toString())) as Received["message"];
      this.received.push({ isBinary, message });
    });
  }

  /** Rejects with the status of a refused handshake in its text. */
  static async open(
    url: string,
    { path = "/local/sdxl/realtime", headers = {} }: RealtimeClientOptions = {},
  ): Promise<RealtimeClient> {
    const socket = new WebSocket(`${url.replace(/^http/, "ws")}${path}`, { headers, maxPayload: 0 });
    const client = new RealtimeClient(socket);
    await once(socket, "open");
    return client;
  }

  ask(message: unknown): void {
    this.socket.send(encode(message));
  }

  /** Resolves with the first message that fits, also one that came before. */
  until(fits: (message: Received["message"]) => boolean): Promise<Received> {
    return eventually(() => {
      const found = this.received.find(({ message }) => fits(message));
      if (found === undefined) throw new Error(`not among ${this.received.length} messages`);
      return found;
    }, 60_000);
  }

  /** The result for an input. */
  result(requestId: string): Promise<Received> {
    return this.until(
      (message) => message["request_id"] === requestId && "images" in message && !("preview" in message),
    );
  }

  async close(): Promise<number> {
    this.socket.close(1_000);
    return this.closed;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.socket.terminate();
    await this.closed;
  }
}

/** The first image of a result as bytes. */
export function contentOf({ message }: Received): Buffer {
  const [image] = message["images"] as { content?: Uint8Array; url?: string }[];
  return image?.content === undefined ? Buffer.from(image!.url!.split(",")[1]!, "base64") : Buffer.from(image.content);
}
