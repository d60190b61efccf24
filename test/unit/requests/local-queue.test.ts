import pino from "pino";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { latentcastDialect } from "../../../src/dialects/latentcast/dialect.ts";
import { LatentcastError } from "../../../src/errors.ts";
import { InputMemory } from "../../../src/images/input-memory.ts";
import { InputReader } from "../../../src/images/source.ts";
import { RequestPutOff, type RequestEvent } from "../../../src/requests/request-events.ts";
import { LocalQueue } from "../../../src/requests/local-queue.ts";
import type { RequestRef, RequestSubmission } from "../../../src/requests/submission.ts";
import { generateInput } from "../../../src/schema/input.ts";
import { readObject } from "../../../src/storage/read-object.ts";
import { PublishedImages } from "../../../src/storage/published-images.ts";
import type { RequestStore } from "../../../src/storage/request-store.ts";
import { ended, request, unfinishedIds } from "../../contract/store-under-test.ts";
import { eventually } from "../../support/eventually.ts";
import { FakeJobs } from "../../support/fake-jobs.ts";
import { dataUri, twoColours } from "../../support/images.ts";
import { openSqliteStore, type SqliteStoreUnderTest } from "../../support/sqlite-store.ts";

let store: SqliteStoreUnderTest;
let jobs: FakeJobs;
let closing: AbortController;
let memory: InputMemory;
beforeEach(async () => {
  store = await openSqliteStore();
  jobs = new FakeJobs();
  closing = new AbortController();
  memory = new InputMemory(2 ** 30);
});
afterEach(() => store[Symbol.asyncDispose]());

const input = generateInput.parse({ prompt: "x", seed: 7 });
const never = new AbortController().signal;

function service(requests: RequestStore = store.requests, dialect = latentcastDialect): LocalQueue {
  return new LocalQueue({
    jobs,
    store: requests,
    images: new PublishedImages(store.objects),
    inputReader: new InputReader({ memory, readFile: (key) => readObject(store.objects, key) }),
    dialect: () => dialect,
    log: pino({ level: "silent" }),
    closing: closing.signal,
  });
}

function submission(id: string, owner: string | null = null): RequestSubmission {
  const { app, dialect, baseUrl, priority, webhookUrl, traceparent } = request(id);
  return { id, owner, app, dialect, baseUrl, priority, webhookUrl, traceparent, startTimeoutMs: undefined };
}

const ref = (id: string, owner: string | null = null): RequestRef => ({ id, owner });

async function isEnded(subject: LocalQueue, id: string): Promise<void> {
  await eventually(async () => expect(await subject.status(ref(id))).toMatchObject({ kind: "ended" }));
}

async function firstEvents(events: AsyncIterable<RequestEvent>, count: number): Promise<RequestEvent[]> {
  const read: RequestEvent[] = [];
  for await (const event of events) if (read.push(event) === count) break;
  return read;
}

/** The store, with one call that a test decides about. */
function storeWith(overrides: Partial<RequestStore>): RequestStore {
  const { requests } = store;
  const bound = (name: keyof RequestStore) => (requests[name] as (...args: unknown[]) => unknown).bind(requests);
  return new Proxy(requests, { get: (_, name: keyof RequestStore) => overrides[name] ?? bound(name) });
}

describe("an accepted request", () => {
  it("is on disk with its seed before the response, and ends with its result", async () => {
    const subject = service();
    expect(await subject.accept(submission("1"), { ...input, seed: undefined }, { warnings: ["w"] })).toBe(0);
    const stored = await store.requests.find("1");
    expect(stored).toMatchObject({ attempts: 0, request: { warnings: ["w"], input: { prompt: "x" } } });
    expect(stored?.request.input?.seed).toBe(jobs.byId.get("1")?.seed);
    expect(await subject.status(ref("1"))).toEqual({ kind: "queued", app: "local/sdxl", position: 0 });
    jobs.start("1");
    expect(await subject.status(ref("1"))).toMatchObject({ kind: "running" });
    jobs.succeed("1");
    await isEnded(subject, "1");
    expect(await subject.response(ref("1"))).toMatchObject({ status: 200 });
    expect(await store.requests.find("1")).toMatchObject({ attempts: 1, result: { error: null, inferenceMs: 2 } });
  });

  it("that is refused holds no image, at whatever point", async () => {
    const withImage = { ...input, image_url: dataUri(await twoColours(16, 16, "red", "blue")) };
    const full = storeWith({ accept: () => Promise.reject(new LatentcastError("storage_full")) });
    await expect(service(full).accept(submission("1"), withImage)).rejects.toMatchObject({ code: "storage_full" });
    jobs.failure = new LatentcastError("invalid_request");
    await service().accept(submission("2"), withImage);
    expect(memory.heldBytes).toBe(0);
    jobs.failure = undefined;
    await service().accept(submission("3"), withImage);
    expect(memory.heldBytes).toBe(16 * 16 * 3);
  });

  it("that is refused is not stored, whether the queue or the disk is full", async () => {
    jobs.refusal = new LatentcastError("queue_full");
    await expect(service().accept(submission("1"), input)).rejects.toMatchObject({ code: "queue_full" });
    jobs.refusal = undefined;
    const full = storeWith({ accept: () => Promise.reject(new LatentcastError("storage_full")) });
    await expect(service(full).accept(submission("1"), input)).rejects.toMatchObject({ code: "storage_full" });
    expect(await store.requests.find("1")).toBeUndefined();
    expect([jobs.byId.size, jobs.promised]).toEqual([0, 0]);
  });

  it("that the model cannot make ends with the reason", async () => {
    jobs.failure = new LatentcastError("invalid_request", { message: "too wide" });
    const subject = service();
    await subject.accept(submission("1"), input);
    await isEnded(subject, "1");
    expect(await subject.response(ref("1"))).toMatchObject({ status: 422 });
  });

  it("that was invalid replays the error", async () => {
    const subject = service();
    await subject.refuse(submission("1"), new LatentcastError("invalid_request"));
    expect(await subject.response(ref("1"))).toMatchObject({ status: 422 });
    expect(await subject.cancel(ref("1"))).toBe("ended_before");
  });
});

describe("an error", () => {
  it("is kept as it is, and shaped by the dialect of its request for each that asks", async () => {
    const fields = [{ loc: ["body", "prompt"], msg: "Field required", type: "missing" }];
    const error = new LatentcastError("invalid_request", { message: "no prompt", fields, retryAfterSeconds: 5 });
    await service().refuse(submission("1"), error);
    expect(await store.requests.ended("1")).toMatchObject({
      result: { error: { code: "invalid_request", message: "no prompt", fields } },
      body: Buffer.alloc(0),
    });
    const other = service(store.requests, {
      ...latentcastDialect,
      error: ({ code, message, status }) => ({ status, headers: { "x-code": code }, body: { why: message } }),
    });
    const body = Buffer.from('{"why":"no prompt"}');
    expect(await other.response(ref("1"))).toEqual({ status: 422, headers: { "x-code": "invalid_request" }, body });
    const [event] = await firstEvents((await other.events(ref("1"), undefined, never))!, 1);
    expect(event?.json.toString()).toBe('{"status":422,"why":"no prompt"}');
    const ours = await service().response(ref("1"));
    expect(JSON.parse(String(ours?.body))).toMatchObject({ detail: fields, error_type: "invalid_request" });
    expect(ours?.headers).not.toHaveProperty("retry-after");
  });
});

/** A request whose image becomes a file, claimed; `file` ends its job and resolves with the key. */
async function drawnTo(requests: RequestStore): Promise<{ subject: LocalQueue; file(): Promise<string> }> {
  const subject = service(requests);
  await subject.accept(submission("1"), { ...input, sync_mode: false });
  jobs.start("1");
  await eventually(async () => expect(await store.requests.find("1")).toMatchObject({ isHeld: true }));
  const put = vi.spyOn(store.objects, "put");
  return {
    subject,
    file: async () => {
      const image = { bytes: Buffer.from("image"), contentType: "image/png", width: 8, height: 8, seed: 7 };
      jobs.succeed("1", [image]);
      return eventually(() => put.mock.calls[0]![0].key);
    },
  };
}

describe("the end of a request", () => {
  it("is announced after it is stored", async () => {
    let keep = (): void => undefined;
    const kept = new Promise<void>((resolve) => {
      keep = resolve;
    });
    const slow = storeWith({ end: (claim, how) => kept.then(() => store.requests.end(claim, how)) });
    const subject = service(slow);
    await subject.accept(submission("1"), input);
    const events = firstEvents((await subject.events(ref("1"), undefined, never))!, 3);
    let isTold = false;
    void events.then(() => {
      isTold = true;
    });
    jobs.start("1");
    jobs.succeed("1");
    await new Promise(setImmediate);
    expect(isTold).toBe(false);
    expect(await subject.status(ref("1"))).toMatchObject({ kind: "running" });
    expect(await subject.response(ref("1"))).toBeUndefined();
    keep();
    await isEnded(subject, "1");
    expect((await events).map(({ name }) => name)).toEqual(["queued", "started", "result"]);
  });

  it("is served from memory while the disk is full", async () => {
    const full = storeWith({
      end: () => Promise.reject(new LatentcastError("storage_full")),
      cancel: () => Promise.reject(new LatentcastError("storage_full")),
    });
    const subject = service(full);
    await subject.accept(submission("1"), input);
    jobs.start("1");
    jobs.succeed("1");
    await isEnded(subject, "1");
    expect(await subject.response(ref("1"))).toMatchObject({ status: 200 });
    expect(await unfinishedIds(store.requests)).toEqual(["1"]);
    closing.abort();
    await subject.close();
  });

  it("is the first one that was stored, whichever server stored it", async () => {
    const subject = service();
    await subject.accept(submission("1"), input);
    jobs.start("1");
    await eventually(async () => expect(await store.requests.find("1")).toMatchObject({ isHeld: true }));
    await store.requests.cancel("1", ended(5));
    jobs.succeed("1");
    await isEnded(subject, "1");
    expect(await subject.response(ref("1"))).toEqual({ status: 200, headers: {}, body: ended(5).body });
  });

  it("that came too late takes its files with it", async () => {
    const { subject, file } = await drawnTo(store.requests);
    await store.requests.cancel("1", ended(5));
    const key = await file();
    await isEnded(subject, "1");
    expect(await subject.response(ref("1"))).toMatchObject({ body: ended(5).body });
    await eventually(async () => expect(await store.objects.find(key)).toBeUndefined());
  });

  it("whose answer was lost is not taken for another's: its files stay", async () => {
    let tries = 0;
    const forgetful = storeWith({
      end: async (claim, end) => {
        const isFirst = await store.requests.end(claim, end);
        tries += 1;
        return isFirst && tries > 1;
      },
    });
    const { subject, file } = await drawnTo(forgetful);
    const key = await file();
    await isEnded(subject, "1");
    expect(await subject.status(ref("1"))).toMatchObject({ result: { error: null } });
    await subject.close();
    expect(await store.objects.find(key)).toBeDefined();
  });

  it("is immediate when a waiting request is cancelled, and follows later when it runs", async () => {
    const subject = service();
    await subject.accept(submission("1"), input);
    await subject.accept(submission("2"), input);
    jobs.start("1");
    expect(await subject.cancel(ref("1"))).toBe("stopping");
    expect(await subject.cancel(ref("2"))).toBe("removed");
    expect(await subject.cancel(ref("2"))).toBe("ended_before");
    expect(await subject.cancel(ref("3"))).toBe("unknown");
    for (const id of ["1", "2"]) {
      expect(await store.requests.ended(id)).toMatchObject({ result: { error: { code: "cancelled" } } });
      expect(await subject.response(ref(id))).toMatchObject({ status: 499 });
    }
  });
});

describe("a server that ends", () => {
  it("leaves unfinished requests to the next server, and the attempt does not count", async () => {
    const subject = service();
    for (const id of ["1", "2"]) await subject.accept(submission(id), input);
    jobs.start("1");
    const events = (await subject.events(ref("1"), undefined, never))!;
    const listening = firstEvents(events, 10).catch((error: unknown) => error);
    for (const job of jobs.byId.values()) jobs.cancel(job, "shutdown");
    closing.abort();
    await subject.close();
    expect(await listening).toBeInstanceOf(RequestPutOff);
    expect(await unfinishedIds(store.requests)).toEqual(["1", "2"]);
    expect(await store.requests.find("1")).toMatchObject({ attempts: 0, isHeld: false });
    expect(await subject.status(ref("1"))).toMatchObject({ kind: "queued" });
  });

  it("is followed by one that runs the rest with the same seeds", async () => {
    await store.requests.accept(request("1", { input: { ...input, seed: 11 } }));
    const next = service();
    await next.recover();
    jobs.start("1");
    expect(jobs.byId.get("1")?.seed).toBe(11);
    jobs.succeed("1");
    await isEnded(next, "1");
  });

  it("is followed by one that does not touch what another server holds", async () => {
    await store.requests.accept(request("1", { input }));
    await store.requests.claim("1", "another", 60_000);
    await service().recover();
    expect(jobs.byId.size).toBe(0);
  });

  const dies = async (times: number): Promise<void> => {
    await store.requests.accept(request("1", { input }));
    for (let life = 0; life < times; life += 1) {
      await store.requests.claim("1", "a server that dies", 1_000);
      store.advance(1_000);
    }
  };

  it.each([
    [1, 0],
    [2, 1],
  ])("%i times during one request runs it alone where that is the last try: %i", async (times, deaths) => {
    await dies(times);
    await service().recover();
    expect(jobs.byId.get("1")!.deaths).toBe(deaths);
  });

  it("three times during one request fails that request", async () => {
    await dies(3);
    const next = service();
    await next.recover();
    await isEnded(next, "1");
    expect(await next.status(ref("1"))).toMatchObject({ result: { error: { code: "worker_crashed" } } });
    expect(jobs.byId.size).toBe(0);
  });
});

describe("a request with an owner", () => {
  const [mine, theirs] = [ref("1", "mine"), ref("1", "theirs")];

  it.each(["held", "ended"])("does not exist for anybody else while it is %s", async (state) => {
    const subject = service();
    await subject.accept(submission("1", "mine"), input);
    if (state === "ended") {
      jobs.start("1");
      jobs.succeed("1");
      await eventually(async () => expect(await subject.status(mine)).toMatchObject({ kind: "ended" }));
    }
    for (const other of [theirs, ref("1")]) {
      expect(await subject.status(other)).toBeUndefined();
      expect(await subject.response(other)).toBeUndefined();
      expect(await subject.events(other, undefined, never)).toBeUndefined();
      expect(await subject.cancel(other)).toBe("unknown");
    }
    expect(await subject.status(mine)).toBeDefined();
  });
});

describe("the events of a request", () => {
  const ids = (events: readonly RequestEvent[]): string[] => events.map(({ id }) => id);
  const names = (events: readonly RequestEvent[]): string[] => events.map(({ name }) => name);

  async function running(): Promise<{
    subject: LocalQueue;
    follow(id?: string): Promise<AsyncIterable<RequestEvent>>;
  }> {
    const subject = service();
    await subject.accept(submission("1"), input);
    const job = jobs.start("1");
    for (const step of [0, 1, 2]) job.progress(step);
    return { subject, follow: async (id) => (await subject.events(ref("1"), id, never))! };
  }

  it("continue after the last one that was read", async () => {
    const { follow } = await running();
    const [standing] = await firstEvents(await follow(), 1);
    expect(standing?.name).toBe("started");
    const rest = await firstEvents(await follow(standing?.id), 3);
    expect(rest.map(({ json }) => JSON.parse(json.toString()).step)).toEqual([0, 1, 2]);
    jobs.succeed("1");
    expect(names(await firstEvents(await follow(rest.at(-1)?.id), 2))).toEqual(["result"]);
  });

  it("begin with the state for ids of another process", async () => {
    const { follow } = await running();
    const standing = ids(await firstEvents(await follow(), 2));
    const [life] = standing[0]!.split(".");
    for (const foreign of ["1.40", "AAAAAAAA.1", "end", "nonsense", `${life}.4000`, `${life}.x`])
      expect(ids(await firstEvents(await follow(foreign), 2))).toEqual(standing);
  });

  it("have other ids in the next process", async () => {
    // Not begun yet: a request that is running may still be held by its earlier life.
    const earlier = service();
    await earlier.accept(submission("1"), input);
    const [before] = await firstEvents((await earlier.events(ref("1"), undefined, never))!, 1);
    jobs = new FakeJobs();
    const next = service();
    await next.recover();
    const [after] = await firstEvents((await next.events(ref("1"), before?.id, never))!, 1);
    expect(after?.name).toBe("queued");
    expect(after?.id.split(".")[0]).not.toBe(before?.id.split(".")[0]);
  });

  it("are over for a listener that has read the last one", async () => {
    const { subject, follow } = await running();
    jobs.succeed("1");
    await isEnded(subject, "1");
    const events = await firstEvents(await follow(), 2);
    expect(names(events)).toEqual(["result"]);
    expect(await subject.events(ref("1"), events[0]?.id, never)).toBeNull();
  });
});
