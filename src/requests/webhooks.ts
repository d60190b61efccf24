/**
 * Tells the address that a request named what became of it, until it listens. Only the address itself is called: http or https, no
 * redirects followed, the answer's body not read.
 */
import { createHash } from "node:crypto";
import type { Logger } from "pino";
import { toAsciiJson } from "../schema/ascii-json.ts";
import type { SigningKey } from "./webhook-key.ts";
import type { Answer, PendingWebhook, QueueStore } from "../storage/request-store.ts";

export interface WebhookOptions {
  readonly store: QueueStore;
  readonly key: SigningKey;
  readonly log: Logger;
  /** Pauses after each failed delivery; after the last one it is given up. */
  readonly pausesMs?: readonly number[];
}

/** Ten more tries over two hours, as fal does. */
const PAUSES_MS = [10, 30, 60, 120, 300, 600, 900, 1_200, 1_800, 2_180].map((seconds) => seconds * 1_000);
const DELIVERY_TIMEOUT_MS = 15_000;
/** Receivers read whose request it was; here there is one user. */
const USER_ID = "local";

export class WebhookSender {
  readonly #options: WebhookOptions;
  readonly #pausesMs: readonly number[];
  readonly #timers = new Map<string, NodeJS.Timeout>();
  readonly #stop = new AbortController();

  constructor(options: WebhookOptions) {
    this.#options = options;
    this.#pausesMs = options.pausesMs ?? PAUSES_MS;
  }

  /** Takes up what an earlier server could not deliver. */
  async start(): Promise<void> {
    for (const pending of await this.#options.store.pendingWebhooks()) this.#wait(pending);
  }

  /** A request that has ended, and is in the store. */
  schedule(id: string, url: string): void {
    this.#wait({ id, url, attempts: 0, dueAtMs: 0 });
  }

  /** What is not delivered yet stays in the store. */
  stop(): void {
    this.#stop.abort();
    for (const timer of this.#timers.values()) clearTimeout(timer);
    this.#timers.clear();
  }

  #wait(pending: PendingWebhook): void {
    if (this.#stop.signal.aborted) return;
    const deliver = (): void => {
      this.#timers.delete(pending.id);
      this.#deliver(pending).catch((error: unknown) => {
        this.#options.log.error({ requestId: pending.id, err: error }, "a webhook could not be handled");
      });
    };
    this.#timers.set(pending.id, setTimeout(deliver, Math.max(0, pending.dueAtMs - Date.now())).unref());
  }

  async #deliver({ id, url, attempts }: PendingWebhook): Promise<void> {
    const { store, log } = this.#options;
    const answer = await store.answer(id);
    if (answer === undefined) return;
    const failure = await this.#post(id, url, answer);
    if (this.#stop.signal.aborted) return;
    if (failure === undefined) {
      await store.noteDelivery(id, attempts + 1, null);
      return;
    }
    const pauseMs = this.#pausesMs[attempts];
    const next = pauseMs === undefined ? null : Date.now() + pauseMs;
    log.warn({ requestId: id, attempt: attempts + 1, givenUp: next === null }, `webhook not delivered: ${failure}`);
    await store.noteDelivery(id, attempts + 1, next);
    if (next !== null) this.#wait({ id, url, attempts: attempts + 1, dueAtMs: next });
  }

  /** Resolves with what went wrong, if anything did. */
  async #post(id: string, url: string, answer: Answer): Promise<string | undefined> {
    const body = payload(id, answer);
    try {
      const response = await fetch(url, {
        method: "POST",
        headers: {
          "content-type": "application/json",
          "user-agent": "latentcast-webhook",
          ...this.#signature(id, body),
        },
        body,
        redirect: "manual",
        signal: AbortSignal.any([this.#stop.signal, AbortSignal.timeout(DELIVERY_TIMEOUT_MS)]),
      });
      await response.body?.cancel();
      return response.ok ? undefined : `answered ${response.status}`;
    } catch (error) {
      const cause = error instanceof Error && error.cause instanceof Error ? error.cause : error;
      return cause instanceof Error ? cause.message : String(cause);
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

function payload(id: string, { status, body }: Answer): string {
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
