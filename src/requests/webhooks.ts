/**
 * Posts the result of a request to the address that the request named, and tries again until it is taken. Only that address is called,
 * after it was checked: redirects are not followed, and the body of the response is not read.
 */
import { createHash } from "node:crypto";
import type { Logger } from "pino";
import { pause } from "../async/timer.ts";
import { guardedPost } from "../net/guarded-post.ts";
import type { Dialect } from "../dialects/dialect.ts";
import { toAsciiJson } from "../schema/ascii-json.ts";
import type { DueWebhook, RequestStore } from "../storage/request-store.ts";
import { toResponse, type RequestResponse } from "./response.ts";
import type { SigningKey } from "./webhook-key.ts";

export interface WebhookOptions {
  readonly store: RequestStore;
  readonly key: SigningKey;
  /** Throws for a name that no dialect has. */
  readonly dialect: (name: string) => Pick<Dialect, "error">;
  readonly log: Logger;
  /** Fires when the server ends: nothing is delivered any more, and what is due stays in the store. */
  readonly closing: AbortSignal;
  /** Also calls addresses of this machine and the network around it. */
  readonly allowPrivate: boolean;
  /** Pauses after each failed delivery; after the last one it is given up. */
  readonly pausesMs?: readonly number[];
}

/** Ten more tries over two hours, as fal does. */
const PAUSES_MS = [10, 30, 60, 120, 300, 600, 900, 1_200, 1_800, 2_180].map((seconds) => seconds * 1_000);
const DELIVERY_TIMEOUT_MS = 15_000;
/** Slow receivers hold up each other only when this many are slow at once. */
const CONCURRENT_DELIVERIES = 16;
/** After a failure of the store itself, such as a full disk. */
const STORE_RETRY_MS = 5_000;
/** Receivers read whose request it was; here there is one user. */
const USER_ID = "local";

export class WebhookSender {
  readonly #options: WebhookOptions;
  readonly #pausesMs: readonly number[];

  constructor(options: WebhookOptions) {
    this.#options = options;
    this.#pausesMs = options.pausesMs ?? PAUSES_MS;
  }

  /** Delivers what is due, now and later, also what an earlier server could not deliver. */
  start(): void {
    void this.#run();
  }

  async #run(): Promise<void> {
    const underWay = new Set<Promise<void>>();
    while (!this.#options.closing.aborted) {
      if (underWay.size === CONCURRENT_DELIVERIES) await Promise.race(underWay);
      const webhook = await this.#next();
      if (webhook === undefined) continue;
      const delivery = this.#deliver(webhook).finally(() => underWay.delete(delivery));
      underWay.add(delivery);
    }
  }

  async #next(): Promise<DueWebhook | undefined> {
    const { store, log, closing } = this.#options;
    try {
      return await store.nextWebhook(closing);
    } catch (error) {
      log.error({ err: error }, "due webhooks could not be read");
      await pause(STORE_RETRY_MS, closing);
      return undefined;
    }
  }

  /** Never rejects. */
  async #deliver(webhook: DueWebhook): Promise<void> {
    const { log, closing } = this.#options;
    const { id, attempts } = webhook;
    const failure = await this.#post(webhook);
    // A server that ends while it delivers does not know whether the receiver got it: the next one repeats it.
    if (closing.aborted) return;
    const retryInMs = failure === undefined ? null : (this.#pausesMs[attempts] ?? null);
    if (failure !== undefined)
      log.warn(
        { requestId: id, attempt: attempts + 1, givenUp: retryInMs === null },
        `webhook not delivered: ${failure}`,
      );
    await this.#settle(webhook, retryInMs);
  }

  /** The webhook is not delivered again until this is stored. */
  async #settle(webhook: DueWebhook, retryInMs: number | null): Promise<void> {
    const { store, log, closing } = this.#options;
    while (!closing.aborted) {
      try {
        await store.settleWebhook(webhook, retryInMs);
        return;
      } catch (error) {
        log.error({ requestId: webhook.id, err: error }, "the delivery of a webhook could not be recorded");
        await pause(STORE_RETRY_MS, closing);
      }
    }
  }

  /** Resolves with what went wrong, if anything did. */
  async #post({ id, url }: DueWebhook): Promise<string | undefined> {
    try {
      const ended = await this.#options.store.ended(id);
      if (ended === undefined) return undefined;
      const body = payload(id, toResponse(ended, this.#options.dialect(ended.request.dialect)));
      const status = await guardedPost(new URL(url), {
        headers: {
          "content-type": "application/json",
          "user-agent": "latentcast-webhook",
          ...this.#signature(id, body),
        },
        body,
        allowPrivate: this.#options.allowPrivate,
        signal: AbortSignal.any([this.#options.closing, AbortSignal.timeout(DELIVERY_TIMEOUT_MS)]),
      });
      return status >= 200 && status < 300 ? undefined : `answered ${status}`;
    } catch (error) {
      return error instanceof Error ? error.message : String(error);
    }
  }

  #signature(id: string, body: string): Record<string, string> {
    const timestamp = String(Math.floor(Date.now() / 1_000));
    const digest = createHash("sha256").update(body).digest("hex");
    return {
      "x-fal-webhook-request-id": id,
      "x-fal-webhook-user-id": USER_ID,
      "x-fal-webhook-timestamp": timestamp,
      "x-fal-webhook-signature": this.#options.key.sign([id, USER_ID, timestamp, digest].join("\n")),
    };
  }
}

function payload(id: string, { status, body }: RequestResponse): string {
  const isOk = status < 400;
  const head = toAsciiJson({
    request_id: id,
    gateway_request_id: id,
    status: isOk ? "OK" : "ERROR",
    error: isOk ? null : `Invalid status code: ${status}`,
  });
  // The body is JSON already, perhaps megabytes of it.
  return `${head.slice(0, -1)},"payload":${body.toString("latin1")}}`;
}
