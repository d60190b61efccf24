/** A client of one Latentcast server. Runs in browsers, Node, Deno and Bun. */
import { connect, type Connection, type Fetch } from "./connection.ts";
import { cancelled, ClientError } from "./error.ts";
import { withAddresses, type ClientInput } from "./image-files.ts";
import { pauseUnlessAborted, pauseBefore } from "./pause.ts";
import { randomId } from "./random-id.ts";
import { RealtimeClient } from "./realtime.ts";
import type { RealtimeConnection, RealtimeOptions, WebSocketClass } from "./realtime-types.ts";
import { PAGE_CLOSED, RequestStream, type GenerateStream } from "./stream.ts";
import type { ClientCancelOutcome, ClientResult, ClientRequestStatus } from "./types.ts";
import { decodeCancel, decodeRequestId, decodeResult, decodeStatus } from "./wire.ts";

export interface ClientOptions {
  /** Where the server is, such as `http://127.0.0.1:8080`. A path is kept. */
  readonly baseUrl: string;
  readonly apiKey?: string;
  /** Stands in for the global `fetch`. */
  readonly fetch?: Fetch;
  /** Stands in for the global `WebSocket`, which Node has from version 22 on; that of the package `ws` fits. */
  readonly webSocket?: WebSocketClass;
}

export interface CallOptions {
  /** Ends the call with the code `cancelled`, and with it the request it made. */
  readonly signal?: AbortSignal;
}

export interface ClientSubmitOptions extends CallOptions {
  /** `low` runs after everything normal. */
  readonly priority?: "normal" | "low";
  /** Where the server posts the result. */
  readonly webhookUrl?: string;
  /** Gives up when no worker has started on it by then. */
  readonly startTimeoutSeconds?: number;
}

/** Every call rejects with a {@link ClientError}. */
export interface LatentcastClient {
  /** One request from prompt to images. */
  generate(input: ClientInput, options?: CallOptions): Promise<ClientResult>;
  /** The same with everything that happens on the way. Leaving the loop before the end cancels the request. */
  stream(input: ClientInput, options?: CallOptions): GenerateStream;
  /** Leaves a request with the server, which keeps it and its result. */
  submit(input: ClientInput, options?: ClientSubmitOptions): Promise<{ readonly requestId: string }>;
  status(requestId: string, options?: CallOptions): Promise<ClientRequestStatus>;
  /** The result of a request that has ended; `bad_request` while it has not. */
  result(requestId: string, options?: CallOptions): Promise<ClientResult>;
  cancel(requestId: string, options?: CallOptions): Promise<ClientCancelOutcome>;
  /** What happens to a submitted request. Leaving this loop leaves the request alone. */
  events(requestId: string, options?: CallOptions): GenerateStream;
  /** Input after input over one socket, of which the latest is drawn: for what changes while somebody types or sketches. */
  realtime(options?: RealtimeOptions): RealtimeConnection;
  /** The body of `GET /health`. */
  health(options?: CallOptions): Promise<unknown>;
}

export function createClient(options: ClientOptions): LatentcastClient {
  const connection = connect(options);
  const client: LatentcastClient = {
    generate: async (input, { signal } = {}) =>
      client.stream({ ...input, preview: false }, signal && { signal }).result(),
    stream: (input, { signal } = {}) => {
      const source = {
        begin: (stop: AbortSignal) => submitOrCancel(connection, input, stop),
        leave: (requestId: string) => void cancelForSure(connection, requestId),
      };
      return new RequestStream(connection, source, signal);
    },
    submit: async (input, submitOptions) => ({ requestId: await submit(connection, input, submitOptions) }),
    status: async (requestId, { signal } = {}) =>
      decodeStatus(await connection.json(`${pathOf(requestId)}/status?logs=1`, { signal })),
    result: async (requestId, { signal } = {}) =>
      decodeResult(await connection.json(pathOf(requestId), { signal }), requestId),
    cancel: (requestId, { signal } = {}) => cancel(connection, requestId, { signal }),
    events: (requestId, { signal } = {}) => {
      const source = { begin: () => Promise.resolve(requestId), leave: () => undefined };
      return new RequestStream(connection, source, signal);
    },
    realtime: (realtimeOptions = {}) => {
      const { webSocket = globalThis.WebSocket } = options;
      if (webSocket === undefined) throw new TypeError("there is no WebSocket here: give one as `webSocket`");
      return new RealtimeClient(connection, webSocket, realtimeOptions);
    },
    health: ({ signal } = {}) => connection.json("/health", { signal }),
  };
  return client;
}

function pathOf(requestId: string): string {
  return `/requests/${encodeURIComponent(requestId)}`;
}

interface SubmitCall extends ClientSubmitOptions {
  /** The server takes this for the id of the request. */
  readonly requestId?: string;
}

async function submit(connection: Connection, input: ClientInput, call: SubmitCall = {}): Promise<string> {
  const { priority, webhookUrl, startTimeoutSeconds, requestId, signal } = call;
  const query = webhookUrl === undefined ? "" : `?${new URLSearchParams({ fal_webhook: webhookUrl })}`;
  const prepared = withAddresses(input);
  const answer = await connection.json(`/queue${query}`, {
    method: "POST",
    body: prepared instanceof Promise ? await prepared : prepared,
    signal,
    headers: {
      ...(priority === undefined ? {} : { "x-fal-queue-priority": priority }),
      ...(startTimeoutSeconds === undefined ? {} : { "x-fal-request-timeout": String(startTimeoutSeconds) }),
      ...(requestId === undefined ? {} : { "x-latentcast-request-id": requestId }),
    },
  });
  return decodeRequestId(answer);
}

/**
 * Submits a request and cancels it when its caller has left meanwhile. The submit itself is not broken off: what may have been accepted
 * has to be cancelled by its id. The id is chosen here, so that this is possible before the response: by a page that is closed, and after
 * a connection that failed.
 */
async function submitOrCancel(connection: Connection, input: ClientInput, stop: AbortSignal): Promise<string> {
  const chosen = randomId();
  const cancelChosen = (): void => void cancelForSure(connection, chosen);
  const submitted = submit(connection, input, { requestId: chosen });
  let abandon: (() => void) | undefined;
  const abandoned = new Promise<never>((_resolve, reject) => {
    abandon = () => {
      // A page that closes does not read the response.
      if (stop.reason === PAGE_CLOSED) cancelChosen();
      submitted.then((requestId) => cancelForSure(connection, requestId)).catch(() => undefined);
      reject(cancelled(stop.reason));
    };
    stop.addEventListener("abort", abandon, { once: true });
  });
  submitted.catch((error: unknown) => {
    if (error instanceof ClientError && error.code === "connection_failed") cancelChosen();
  });
  try {
    return await Promise.race([submitted, abandoned]);
  } finally {
    if (abandon !== undefined) stop.removeEventListener("abort", abandon);
  }
}

interface CancelCall {
  readonly signal?: AbortSignal | undefined;
  readonly keepalive?: boolean;
}

async function cancel(connection: Connection, requestId: string, call: CancelCall): Promise<ClientCancelOutcome> {
  try {
    return decodeCancel(await connection.json(`${pathOf(requestId)}/cancel`, { method: "PUT", ...call }));
  } catch (error) {
    if (error instanceof ClientError && error.status === 400) return "finished";
    throw error;
  }
}

/** Tries as long as a broken connection may be the reason. Nobody waits for it: it never rejects, and its pauses keep no process alive. */
async function cancelForSure(connection: Connection, requestId: string): Promise<void> {
  const { signal } = new AbortController();
  for (let attempt = 0; ; attempt += 1) {
    try {
      await cancel(connection, requestId, { keepalive: true });
      return;
    } catch (error) {
      const ms = pauseBefore(attempt);
      if (ms === undefined || !(error instanceof ClientError) || error.code !== "connection_failed") return;
      await pauseUnlessAborted(ms, signal, { keepsAlive: false });
    }
  }
}
