/** Webhooks of a fleet: a queue that any gateway takes from, and the record of the request, which says whether one is due. */
import { setTimeout } from "node:timers/promises";
import type { DueWebhook } from "../../storage/request-store.ts";
import { pause } from "../../async/timer.ts";
import type { Bus, Delivery } from "../bus.ts";
import type { FleetStoreOptions } from "./file-store.ts";
import type { RecordFiles } from "./record-files.ts";
import type { RecordStream } from "./records.ts";
import { changed, isFile, parseRequest, type StateHeader, type StateRecord } from "./state-record.ts";

/** One pull; the next one follows at once. */
const PULL_MS = 2_000;
/** After a failure that is not the webhook's. */
const RETRY_MS = 1_000;
const RACE_PAUSE_MS = 20;

export interface HooksOptions extends Required<FleetStoreOptions> {
  readonly records: RecordStream;
  readonly files: RecordFiles;
}

type Hook = NonNullable<StateHeader["hook"]>;

export class Hooks {
  readonly #options: HooksOptions;
  readonly #bus: Bus;
  /** Those that this process delivers, by id. */
  readonly #delivering = new Map<string, Delivery>();

  constructor(options: HooksOptions) {
    this.#options = options;
    this.#bus = options.bus;
  }

  async next(signal: AbortSignal): Promise<DueWebhook | undefined> {
    const { layout } = this.#options;
    while (!signal.aborted) {
      try {
        const delivery = await this.#bus.pull(layout.hooks, { expiresMs: PULL_MS, signal });
        const due = delivery && (await this.#due(delivery));
        if (due !== undefined) return due;
      } catch {
        // Servers come and go; whatever was pulled comes again by itself.
        await pause(RETRY_MS, signal);
      }
    }
    return undefined;
  }

  async settle({ id }: DueWebhook, retryInMs: number | null): Promise<void> {
    const delivery = this.#delivering.get(id);
    this.#delivering.delete(id);
    if (retryInMs === null) {
      await this.#finish(id);
      await delivery?.ack();
      return;
    }
    await this.#count(id, (hook) => ({ ...hook, failures: hook.failures + 1 }));
    delivery?.nak(retryInMs);
  }

  /** Makes sure that there is a message for a webhook that is due. Only one caller makes one. */
  async remind(id: string): Promise<void> {
    const { records } = this.#options;
    const record = await records.read(id);
    if (record?.head.hook?.isDue !== true || this.#delivering.has(id) || (await records.hasHook(id))) return;
    if (await this.#count(id, (hook) => ({ ...hook, reminders: hook.reminders + 1 }), record))
      await records.putHook(id);
  }

  /** Undefined for one that is not due any more. */
  async #due(delivery: Delivery): Promise<DueWebhook | undefined> {
    const { records, files, layout } = this.#options;
    const id = decodeURIComponent(delivery.subject.slice(layout.hook("").length));
    const record = await records.read(id);
    const text = record?.head.hook?.isDue === true ? await files.read(record, "request") : undefined;
    const url = text === undefined ? null : parseRequest(text).webhookUrl;
    if (url === null || record?.head.hook === undefined || record.head.hook === null) {
      await delivery.ack();
      return undefined;
    }
    this.#delivering.set(id, delivery);
    return { id, url, attempts: record.head.hook.failures };
  }

  /** From now on the request is kept as long as others, and its texts give way to newer ones. */
  async #finish(id: string): Promise<void> {
    const { records, files, now } = this.#options;
    let record = await records.read(id);
    while (record?.head.hook?.isDue === true) {
      const facts = { ...(await this.#moved(record)), hook: { ...record.head.hook, isDue: false } };
      const settled = changed(record, facts);
      const isWritten = (await records.write(settled, record.revision, now())) !== undefined;
      await (isWritten ? files.remove(record.head, settled.head) : files.remove(settled.head, record.head));
      if (isWritten) return;
      // The other write is refused to us before it can be read.
      await setTimeout(RACE_PAUSE_MS);
      record = await records.read(id);
    }
  }

  async #moved(record: StateRecord): Promise<Partial<StateHeader>> {
    const { files, now } = this.#options;
    const facts: Record<string, unknown> = {};
    for (const text of ["request", "result", "body"] as const) {
      const place = record.head[text];
      if (place === null || !isFile(place)) continue;
      const bytes = await files.read(record, text);
      if (bytes !== undefined) facts[text] = await files.place(record.head.id, bytes, now(), record.head.expiresAtMs);
    }
    return facts;
  }

  async #count(id: string, count: (hook: Hook) => Hook, known?: StateRecord): Promise<boolean> {
    const { records, now } = this.#options;
    const record = known ?? (await records.read(id));
    if (record === undefined || record.head.hook === null) return false;
    return (
      (await records.write(changed(record, { hook: count(record.head.hook) }), record.revision, now())) !== undefined
    );
  }
}
