/** Requests as rows of SQLite; results too large for a row as files beside it. */
import { EventEmitter, once } from "node:events";
import { randomBytes } from "node:crypto";
import type { Readable } from "node:stream";
import type { InputFiles } from "../images/source.ts";
import { readRequest, readResult, writeRecord, type AcceptedRequest } from "./request-record.ts";
import { Conflict } from "./request-store.ts";
import type { Claim, DueWebhook, Ended, EndedRequest, RequestStore, StoredRequest } from "./request-store.ts";
import type { SqliteDisk } from "./sqlite-disk.ts";
import type { RequestRow } from "./sqlite-statements.ts";
import { sqliteCode } from "./sqlite.ts";

/** Larger results carry images; as a row they would be copied through SQLite's cache on this thread. */
const MAX_INLINE_BYTES = 32 * 1_024;
/** The longest that a timer takes. */
const MAX_PAUSE_MS = 2 ** 31 - 1;

interface PlacedBody {
  readonly inline: Buffer | null;
  readonly key: string | null;
  readonly sizeBytes: number;
}

interface PlacedInput {
  readonly key: string;
  readonly sizeBytes: number;
}

/** The input images of a request are removed when it ends. */
const NEVER = Number.MAX_SAFE_INTEGER;

export class SqliteRequestStore implements RequestStore {
  readonly #disk: SqliteDisk;
  /** Ids of webhooks that are being delivered. */
  readonly #delivering = new Set<string>();
  readonly #webhooks = new EventEmitter();

  constructor(disk: SqliteDisk) {
    this.#disk = disk;
    this.#webhooks.setMaxListeners(0);
  }

  async accept(request: AcceptedRequest, ended?: Ended, files?: InputFiles): Promise<void> {
    const { write } = this.#disk;
    const inputs = files === undefined ? [] : await this.#placeInputs(files);
    const json = writeRecord(withKeys(request, inputs));
    const sizeBytes = Buffer.byteLength(json);
    let body: PlacedBody | undefined;
    try {
      await this.#disk.makeRoom(inputs.reduce((sum, input) => sum + input.sizeBytes, sizeBytes));
      body = ended === undefined ? undefined : await this.#placeBody(ended.body);
      await this.#disk.commit(() => {
        write.accept.run(request.id, request.acceptedAtMs, json, sizeBytes);
        for (const { key, sizeBytes: size } of inputs)
          write.putObject.run(key, "input", "application/octet-stream", size, Date.now(), NEVER);
        if (ended !== undefined && body !== undefined) this.#writeEnd(request.id, null, ended, body);
      });
    } catch (error) {
      await this.#removeBody(body);
      await this.#disk.files.remove(inputs.map(({ key }) => key));
      if (sqliteCode(error)?.startsWith("SQLITE_CONSTRAINT") === true)
        throw new Conflict(`there is a request ${request.id} already`, { cause: error });
      throw error;
    }
    this.#disk.grow(inputs.reduce((sum, input) => sum + input.sizeBytes, sizeBytes + (body?.sizeBytes ?? 0)));
    if (ended !== undefined) this.#webhooks.emit("change");
  }

  async find(id: string): Promise<StoredRequest | undefined> {
    const row = this.#disk.read.find.get(id);
    return row === undefined ? undefined : this.#toStored(row);
  }

  async inputFiles(id: string): Promise<InputFiles | undefined> {
    const keys = this.#inputKeys(id);
    if (keys === undefined) return undefined;
    const { files } = this.#disk;
    return {
      image: await bytesOf(files.read(keys.image)),
      mask: keys.mask === null ? null : await bytesOf(files.read(keys.mask)),
    };
  }

  async ended(id: string): Promise<EndedRequest | undefined> {
    const row = this.#disk.read.ended.get(id);
    if (row === undefined) return undefined;
    const { body, body_key: key } = row;
    return {
      request: readRequest(row.request),
      result: readResult(row.result),
      body: key === null ? Buffer.from(body ?? []) : await bytesOf(this.#disk.files.read(key)),
    };
  }

  async *unfinished(): AsyncGenerator<StoredRequest, void, undefined> {
    for (const { id } of await this.#disk.read.unfinished.all()) {
      const stored = await this.find(id);
      if (stored?.result === null) yield stored;
    }
  }

  async claim(
    id: string,
    owner: string,
    leaseMs: number,
    from?: string,
  ): Promise<Claim | "held" | "ended" | "unknown"> {
    const { write, clock } = this.#disk;
    let claimed: Claim | "held" | "ended" | "unknown" = "unknown";
    await this.#disk.commit(() => {
      const now = clock.now();
      const { changes } = write.claim.run(owner, now + leaseMs, id, now, from ?? null);
      const row = write.findClaim.get(id);
      if (row === undefined) claimed = "unknown";
      else if (changes === 1) claimed = { id, owner, attempt: row.attempts, revision: row.revision };
      else claimed = row.ended_at === null ? "held" : "ended";
    });
    return claimed;
  }

  async renew(claim: Claim, leaseMs: number): Promise<Claim | "lost"> {
    const { write, clock } = this.#disk;
    let isHolder = false;
    await this.#disk.commit(() => {
      isHolder = write.renew.run(clock.now() + leaseMs, claim.id, claim.owner, claim.revision).changes === 1;
    });
    return isHolder ? { ...claim, revision: claim.revision + 1 } : "lost";
  }

  async release({ id, owner, revision }: Claim): Promise<void> {
    await this.#disk.commit(() => this.#disk.write.release.run(id, owner, revision));
  }

  end(claim: Claim, ended: Ended): Promise<boolean> {
    return this.#end(claim.id, claim.revision, ended);
  }

  cancel(id: string, ended: Ended): Promise<boolean> {
    return this.#end(id, null, ended);
  }

  async nextWebhook(signal: AbortSignal): Promise<DueWebhook | undefined> {
    const { read, clock } = this.#disk;
    while (!signal.aborted) {
      // One more than can be under way: one of them is free.
      const rows = await read.dueWebhooks.all(this.#delivering.size + 1);
      const row = rows.find(({ id }) => !this.#delivering.has(id));
      const pauseMs = row === undefined ? MAX_PAUSE_MS : row.webhook_due_at - clock.now();
      if (row !== undefined && pauseMs <= 0) {
        this.#delivering.add(row.id);
        return { id: row.id, url: row.url, attempts: row.webhook_attempts };
      }
      await this.#webhookChange(Math.min(pauseMs, MAX_PAUSE_MS), signal);
    }
    return undefined;
  }

  async settleWebhook({ id, attempts }: DueWebhook, retryInMs: number | null): Promise<void> {
    const { write, clock } = this.#disk;
    const dueAtMs = retryInMs === null ? null : clock.now() + retryInMs;
    await this.#disk.commit(() => write.settle.run(attempts + (retryInMs === null ? 0 : 1), dueAtMs, id));
    this.#delivering.delete(id);
    this.#webhooks.emit("change");
  }

  async expire(): Promise<void> {
    await this.#disk.keepTime();
    const requests = await this.#disk.read.expiredRequests.all(this.#disk.clock.now());
    await this.#disk.forget(
      requests.flatMap(({ body_key: key }) => (key === null ? [] : [key])),
      requests.map(({ id }) => id),
    );
  }

  async #end(id: string, revision: number | null, ended: Ended): Promise<boolean> {
    const body = await this.#placeBody(ended.body);
    const inputs = this.#inputKeys(id);
    const inputKeys = inputs === undefined ? [] : [inputs.image, ...(inputs.mask === null ? [] : [inputs.mask])];
    let isFirst = false;
    try {
      await this.#disk.commit(() => {
        isFirst = this.#writeEnd(id, revision, ended, body);
        if (isFirst) for (const key of inputKeys) this.#disk.write.removeObject.run(key);
      });
    } finally {
      if (isFirst) this.#disk.grow(body.sizeBytes);
      else await this.#removeBody(body);
    }
    if (isFirst) await this.#disk.forget(inputKeys, []);
    this.#webhooks.emit("change");
    return isFirst;
  }

  /** False, and nothing written, unless there is such a request of this revision that has not ended. */
  #writeEnd(id: string, revision: number | null, { result }: Ended, body: PlacedBody): boolean {
    const { write, clock, keepMs } = this.#disk;
    const expiresAtMs = clock.now() + keepMs;
    const { changes } = write.end.run(
      result.endedAtMs,
      writeRecord(result),
      body.inline,
      body.key,
      body.inline?.byteLength ?? 0,
      expiresAtMs,
      id,
      revision,
    );
    if (changes === 0) return false;
    if (body.key !== null)
      write.putObject.run(body.key, "response", "application/json", body.sizeBytes, Date.now(), expiresAtMs);
    return true;
  }

  /** A file becomes known with the row that names it; files that no row names are removed at the next start. */
  async #placeBody(body: Buffer): Promise<PlacedBody> {
    const sizeBytes = body.byteLength;
    await this.#disk.makeRoom(sizeBytes);
    if (sizeBytes <= MAX_INLINE_BYTES) return { inline: body, key: null, sizeBytes };
    const key = randomBytes(16).toString("hex");
    await this.#disk.filling(() => this.#disk.files.write(key, body));
    return { inline: null, key, sizeBytes };
  }

  /** Files that no request points to are swept at the next start. */
  async #placeInputs({ image, mask }: InputFiles): Promise<readonly PlacedInput[]> {
    const placed: PlacedInput[] = [];
    try {
      for (const bytes of mask === null ? [image] : [image, mask]) {
        const key = randomBytes(16).toString("hex");
        await this.#disk.makeRoom(bytes.byteLength);
        await this.#disk.filling(() => this.#disk.files.write(key, bytes));
        placed.push({ key, sizeBytes: bytes.byteLength });
      }
    } catch (error) {
      await this.#disk.files.remove(placed.map(({ key }) => key));
      throw error;
    }
    return placed;
  }

  /** Undefined also when the request has ended. */
  #inputKeys(id: string): AcceptedRequest["inputFiles"] {
    const row = this.#disk.read.find.get(id);
    return row === undefined || row.result !== null ? undefined : readRequest(row.request).inputFiles;
  }

  async #removeBody(body: PlacedBody | undefined): Promise<void> {
    if (typeof body?.key === "string") await this.#disk.files.remove([body.key]);
  }

  /** Resolves when something about webhooks has changed, after the pause, or when `signal` fires. */
  async #webhookChange(pauseMs: number, signal: AbortSignal): Promise<void> {
    const done = new AbortController();
    const timer = setTimeout(() => done.abort(), pauseMs);
    timer.unref();
    await once(this.#webhooks, "change", { signal: AbortSignal.any([signal, done.signal]) }).catch(() => undefined);
    clearTimeout(timer);
  }

  #toStored({ request, attempts, result, holder, lease_until: leaseUntilMs }: RequestRow): StoredRequest {
    return {
      request: readRequest(request),
      attempts,
      holder,
      isHeld: leaseUntilMs !== null && leaseUntilMs > this.#disk.clock.now(),
      result: result === null ? null : readResult(result),
    };
  }
}

async function bytesOf(stream: Readable): Promise<Buffer> {
  return Buffer.concat((await stream.toArray()) as Buffer[]);
}

function withKeys(request: AcceptedRequest, [image, mask]: readonly PlacedInput[]): AcceptedRequest {
  if (image === undefined) return request;
  return { ...request, inputFiles: { image: image.key, mask: mask?.key ?? null } };
}
