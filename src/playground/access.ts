/** The way to the server: the key of this tab, and whether the line holds. */
import { createClient, type Fetch, type LatentcastClient } from "../client/index.ts";
import { connectionFailed, errorOfResponse } from "../client/error.ts";
import { text } from "./json.ts";
import { keepInTab, readFromTab } from "./tab-storage.ts";

const KEY_ENTRY = "latentcast.key";

/** For this tab only; gone when it is closed. */
export function keepKey(key: string): void {
  keepInTab(KEY_ENTRY, key);
}

/** Where this page came from: the server, below whatever path a proxy has put it. */
export function serverUrl(): string {
  return new URL(".", document.baseURI).href.replace(/\/$/, "");
}

/** @param onLine Told whenever an answer begins (true), and when one breaks off or cannot be had (false). */
export function openClient(onLine: (isUp: boolean) => void = () => undefined): LatentcastClient {
  const apiKey = readFromTab(KEY_ENTRY);
  return createClient({ baseUrl: serverUrl(), fetch: watched(onLine), ...(apiKey === undefined ? {} : { apiKey }) });
}

/** What a `GET` answers. Rejects with a LatentcastError. */
export async function getJson(path: string): Promise<unknown> {
  return json(path, {});
}

/** For a socket, whose handshake takes no headers in browsers. Rejects with a LatentcastError. */
export async function realtimeToken(): Promise<string> {
  return text(await json("rest/tokens", { method: "POST", body: JSON.stringify({ allowed_apps: ["realtime"] }) }));
}

async function json(path: string, init: RequestInit): Promise<unknown> {
  const apiKey = readFromTab(KEY_ENTRY);
  let response: Response;
  try {
    response = await fetch(`${serverUrl()}/${path}`, {
      ...init,
      headers: {
        "content-type": "application/json",
        ...(apiKey === undefined ? {} : { authorization: `Key ${apiKey}` }),
      },
    });
  } catch (error) {
    throw connectionFailed(error);
  }
  if (!response.ok) throw await errorOfResponse(response);
  return response.json();
}

function watched(onLine: (isUp: boolean) => void): Fetch {
  return async (url, init) => {
    let response: Response;
    try {
      response = await fetch(url, init);
    } catch (error) {
      if (init.signal?.aborted !== true) onLine(false);
      throw error;
    }
    onLine(true);
    if (response.body === null) return response;
    return new Response(watchedBody(response.body, onLine), response);
  };
}

/** Passes everything on. */
function watchedBody(body: ReadableStream<Uint8Array>, onLine: (isUp: boolean) => void): ReadableStream<Uint8Array> {
  const reader = body.getReader();
  return new ReadableStream(
    {
      pull: async (controller) => {
        try {
          const { done, value } = await reader.read();
          if (done) controller.close();
          else controller.enqueue(value);
        } catch (error) {
          onLine(false);
          throw error;
        }
      },
      cancel: (reason) => reader.cancel(reason),
    },
    { highWaterMark: 0 },
  );
}

/** Whether a key was asked for in this tab. */
export function hasKey(): boolean {
  return readFromTab(KEY_ENTRY) !== undefined;
}
