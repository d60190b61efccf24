/** Requests to one server: addresses, keys, failures as errors. */
import { cancelled, connectionFailed, errorOfResponse, ClientError } from "./error.ts";
import { turnsFor, type Turns } from "./turns.ts";

export type Fetch = (url: string, init: RequestInit) => Promise<Response>;

export interface Call {
  readonly method?: "GET" | "POST" | "PUT";
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: unknown;
  readonly signal?: AbortSignal | undefined;
  /** The request outlives the page that made it. */
  readonly keepalive?: boolean;
}

export interface Connection {
  /** Answers that last as long as an image wait for theirs. */
  readonly turns: Turns;
  /** Resolves with an answer of a success status; rejects with a {@link ClientError}. */
  open(path: string, call?: Call): Promise<Response>;
  /** The JSON of such an answer. */
  json(path: string, call?: Call): Promise<unknown>;
}

export interface ConnectionOptions {
  readonly baseUrl: string;
  readonly apiKey?: string | undefined;
  readonly fetch?: Fetch | undefined;
}

export function connect({
  baseUrl,
  apiKey,
  fetch = (url, init) => globalThis.fetch(url, init),
}: ConnectionOptions): Connection {
  const root = baseUrl.replace(/\/+$/, "");

  async function open(
    path: string,
    { method = "GET", headers = {}, body, signal, keepalive }: Call = {},
  ): Promise<Response> {
    let response: Response;
    try {
      response = await fetch(`${root}${path}`, {
        method,
        headers: {
          ...(apiKey === undefined ? {} : { authorization: `Key ${apiKey}` }),
          ...(body === undefined ? {} : { "content-type": "application/json" }),
          ...headers,
        },
        ...(body === undefined ? {} : { body: JSON.stringify(body) }),
        ...(signal === undefined ? {} : { signal }),
        ...(keepalive === undefined ? {} : { keepalive }),
      });
    } catch (cause) {
      throw signal?.aborted === true ? cancelled(cause) : connectionFailed(cause);
    }
    if (!response.ok) throw await errorOfResponse(response);
    return response;
  }

  return {
    turns: turnsFor(root),
    open,
    json: async (path, call) => {
      const response = await open(path, call);
      try {
        const body: unknown = await response.json();
        return body;
      } catch (cause) {
        if (call?.signal?.aborted === true) throw cancelled(cause);
        throw new ClientError("unexpected_response", "The server's answer is not JSON.", {
          status: response.status,
          cause,
        });
      }
    },
  };
}
