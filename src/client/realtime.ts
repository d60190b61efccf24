/**
 * A realtime connection that is opened when there is something to draw and opened again when it breaks. It speaks JSON in text frames, to
 * which the server answers with data URIs: what `image.url` is everywhere in this client, and no msgpack in pages.
 */
import type { Connection } from "./connection.ts";
import { cancelled, ClientError, connectionFailed, errorOfBody } from "./error.ts";
import { asRecord, readNumber, readString, type JsonRecord } from "./guards.ts";
import { withAddresses } from "./image-files.ts";
import { pauseBefore, pauseUnlessAborted } from "./pause.ts";
import { randomId } from "./random-id.ts";
import { RealtimeInbox } from "./realtime-inbox.ts";
import type {
  RealtimeConnection,
  RealtimeEvent,
  RealtimeInput,
  RealtimeOptions,
  WebSocketClass,
  WebSocketLike,
} from "./realtime-types.ts";
import { decodeImages, decodeResult, decodeStep } from "./wire.ts";

const NORMAL = 1_000;
const TOO_BIG = 1_009;

export class RealtimeClient implements RealtimeConnection {
  readonly #connection: Connection;
  readonly #webSocket: WebSocketClass;
  readonly #options: RealtimeOptions;
  readonly #inbox = new RealtimeInbox();
  readonly #stop = new AbortController();
  /** Inputs without an answer, oldest first, as they are sent; undefined while their files are read. */
  readonly #unanswered = new Map<string, string | undefined>();
  #socket: WebSocketLike | undefined;
  #isOpen = false;
  #isConnecting = false;
  /** Since the server last said something. */
  #attempts = 0;
  #isRead = false;

  constructor(connection: Connection, webSocket: WebSocketClass, options: RealtimeOptions) {
    this.#connection = connection;
    this.#webSocket = webSocket;
    this.#options = options;
    const { signal } = options;
    if (signal?.aborted === true) this.#end(cancelled(signal.reason));
    signal?.addEventListener("abort", () => this.#end(cancelled(signal.reason)), { signal: this.#stop.signal });
  }

  send(input: RealtimeInput): string {
    const requestId = randomId();
    if (this.#stop.signal.aborted) throw new TypeError("the connection is closed");
    this.#unanswered.set(requestId, undefined);
    const { preview, ...fields } = input;
    const prepared = withAddresses(fields);
    const dispatch = (ready: object): void => {
      const { mode } = this.#options;
      this.#dispatch(requestId, JSON.stringify({ ...ready, preview, mode, request_id: requestId }));
    };
    // Without files nothing is waited for: the order of inputs is that of the calls.
    if (!(prepared instanceof Promise)) dispatch(prepared);
    else
      prepared.then(dispatch, (cause: unknown) =>
        this.#fail(requestId, new ClientError("invalid_request", "A file could not be read.", { cause })),
      );
    return requestId;
  }

  close(): void {
    this.#end();
  }

  [Symbol.dispose](): void {
    this.#end();
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<RealtimeEvent, void, undefined> {
    if (this.#isRead) throw new TypeError("a connection can be read once");
    this.#isRead = true;
    try {
      let event = await this.#inbox.take();
      while (event !== undefined) {
        yield event;
        event = await this.#inbox.take();
      }
    } finally {
      this.#end();
    }
  }

  #dispatch(requestId: string, message: string): void {
    if (!this.#unanswered.has(requestId)) return;
    this.#unanswered.set(requestId, message);
    if (this.#isOpen) this.#socket?.send(message);
    else if (this.#socket === undefined && !this.#isConnecting) void this.#connect();
  }

  /** Never rejects: what goes wrong for good ends the connection. */
  async #connect(): Promise<void> {
    const { signal } = this.#stop;
    this.#isConnecting = true;
    let url: string | undefined;
    while (url === undefined && !signal.aborted) {
      const pause = this.#attempts === 0 ? 0 : pauseBefore(this.#attempts - 1);
      if (pause === undefined) return this.#end(connectionFailed(undefined));
      if (pause > 0) await pauseUnlessAborted(pause, signal);
      this.#attempts += 1;
      try {
        url = await this.#connection.socketUrl("/realtime", signal);
      } catch (error) {
        const mayRecover = error instanceof ClientError && error.code === "connection_failed";
        if (!mayRecover) this.#end(error);
      }
    }
    this.#isConnecting = false;
    if (url !== undefined && !signal.aborted) this.#open(url);
  }

  #open(url: string): void {
    const socket = new this.#webSocket(url);
    this.#socket = socket;
    socket.addEventListener("open", () => {
      if (this.#stop.signal.aborted) return;
      this.#isOpen = true;
      this.#sendNewest(socket);
    });
    socket.addEventListener("message", (event) => this.#read(readString(asRecord(event), "data") ?? ""));
    // What went wrong is in the close event that follows; without a listener `ws` would end the process.
    socket.addEventListener("error", () => undefined);
    socket.addEventListener("close", (event) => this.#closed(readNumber(asRecord(event), "code") ?? 0));
  }

  /** The server draws the latest: older ones would be superseded there all the same. */
  #sendNewest(socket: WebSocketLike): void {
    const [newest, ...older] = [...this.#unanswered].filter(([, message]) => message !== undefined).toReversed();
    for (const [requestId] of older) this.#deliver({ kind: "superseded", requestId });
    if (newest?.[1] !== undefined) socket.send(newest[1]);
  }

  #closed(code: number): void {
    this.#socket = undefined;
    this.#isOpen = false;
    if (this.#stop.signal.aborted) return;
    if (code === TOO_BIG) {
      const error = new ClientError("payload_too_large", "The input is larger than the server takes.");
      for (const requestId of [...this.#unanswered.keys()]) this.#fail(requestId, error);
    }
    // Without anything to draw the next input opens another one.
    const isNeeded = [...this.#unanswered.values()].some((message) => message !== undefined);
    if (isNeeded && !this.#isConnecting) void this.#connect();
  }

  #read(text: string): void {
    if (this.#stop.signal.aborted) return;
    const message = asRecord(parse(text));
    const requestId = readString(message, "request_id") ?? "";
    if (message["status"] === "error") {
      // The token was good a moment ago; a second one that is not will not be followed by a third.
      if (this.#attempts > 1) this.#end(new ClientError("unauthorized", "The server refused the token that it gave."));
      return;
    }
    this.#attempts = 0;
    const event = decode(message, requestId);
    if (event !== undefined) this.#deliver(event);
  }

  #fail(requestId: string, error: ClientError): void {
    this.#deliver({ kind: "error", requestId, error });
  }

  #deliver(event: RealtimeEvent): void {
    if (event.kind !== "preview") this.#unanswered.delete(event.requestId);
    this.#inbox.push(event);
  }

  /** @param cause What a loop over the events throws at its end; undefined for none. */
  #end(cause?: unknown): void {
    if (this.#stop.signal.aborted) return;
    this.#stop.abort();
    this.#inbox.close(cause === undefined || cause instanceof Error ? cause : connectionFailed(cause));
    this.#socket?.close(NORMAL);
  }
}

/** Undefined for what says nothing about an input: the end of an idle connection, and messages of a newer server. */
function decode(message: JsonRecord, requestId: string): RealtimeEvent | undefined {
  if (message["type"] === "x-fal-message")
    return message["action"] === "superseded" ? { kind: "superseded", requestId } : undefined;
  if (message["type"] === "x-fal-error") {
    if (message["error"] === "TIMEOUT") return undefined;
    const error = errorOfBody(message, { requestId, retryAfterSeconds: readNumber(message, "retry_after") });
    return { kind: "error", requestId, error };
  }
  if (!("images" in message)) return undefined;
  if (!("preview" in message)) return { kind: "result", requestId, result: decodeResult(message, requestId) };
  return { kind: "preview", requestId, ...decodeStep(asRecord(message["preview"])), ...decodeImages(message) };
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
