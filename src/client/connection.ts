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
  /** Where a socket is opened; with a token for it, where a key is needed: sockets have no headers in browsers. */
  socketUrl(path: string, signal: AbortSignal): Promise<string>;
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

  const json = async (path: string, call?: Call): Promise<unknown> => {
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
  };

  return {
    turns: turnsFor(root),
    open,
    json,
    socketUrl: async (path, signal) => {
      const url = new URL(`${root}${path}`, globalThis.location?.href);
      url.protocol = url.protocol.replace("http", "ws");
      if (apiKey === undefined) return url.href;
      // The last part of the path is what the token is for.
      const body = { allowed_apps: [path.split("/").at(-1)] };
      url.searchParams.set("fal_jwt_token", String(await json("/rest/tokens", { method: "POST", body, signal })));
      return url.href;
    },
  };
}
