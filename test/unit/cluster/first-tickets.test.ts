/**
 * The tickets of requests that a gateway accepts, in memory: sent after the record, again where the queue does not take them, by others
 * where the gateway is gone.
 */
import pino from "pino";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { StreamFull } from "../../../src/cluster/bus.ts";
import { deferred, type Deferred } from "../../../src/async/deferred.ts";
import { FirstTickets } from "../../../src/cluster/requests/first-tickets.ts";
import { LatentcastError } from "../../../src/errors.ts";
import { generateInput } from "../../../src/schema/input.ts";
import { request } from "../../contract/store-under-test.ts";
import { eventually } from "../../support/eventually.ts";
import { memoryFleet, type MemoryFleet, type MemoryGateway } from "../../support/memory-request-fleet.ts";

let fleet: MemoryFleet;
let [a, b]: MemoryGateway[] = [];
let failures: number;
beforeEach(async () => {
  failures = 0;
  fleet = await memoryFleet("streams");
  a = await fleet.gateway("a", { ticketFailed: () => (failures += 1) });
  b = await fleet.gateway("b");
});
afterEach(async () => {
  vi.useRealTimers();
  await fleet[Symbol.asyncDispose]();
});

const later = (): number => performance.now() + 60_000;
const messages = (stream: "state" | "tickets"): number =>
  fleet.network.stream(fleet.layout.streams[stream]).messages.length;

function accept(gateway: MemoryGateway, id = "1"): Promise<number> {
  const { app, dialect, baseUrl, priority, webhookUrl, traceparent } = request(id);
  const submission = { id, owner: null, app, dialect, baseUrl, priority, webhookUrl, traceparent };
  return gateway.queue.accept({ ...submission, startTimeoutMs: undefined }, generateInput.parse({ prompt: "x" }));
}

/** Each write to the stream waits until a test lets it happen, or fail. */
function hold({ bus }: MemoryGateway, stream: "state" | "tickets") {
  const put = bus.put.bind(bus);
  const waiting: Deferred<void>[] = [];
  vi.spyOn(bus, "put").mockImplementation(async (name, ...message) => {
    if (name === fleet.layout.streams[stream]) {
      waiting.push(deferred<void>());
      await waiting.at(-1)!.promise;
    }
    return put(name, ...message);
  });
  return waiting;
}

describe("the ticket of an accepted request", () => {
  it("is waited for by nobody, and the request counts as waiting until the queue has it", async () => {
    const held = hold(a!, "tickets");
    expect(await accept(a!)).toBe(0);
    expect([messages("state"), messages("tickets"), a!.jobs.promised]).toEqual([1, 0, 1]);
    await eventually(() => expect(held).toHaveLength(1));
    held[0]!.resolve();
    await a!.queue.close();
    expect([messages("tickets"), a!.jobs.promised]).toEqual([1, 0]);
  });

  it("is not sent before the record is kept, and not at all when that is refused", async () => {
    const held = hold(a!, "state");
    const [kept, refused] = [accept(a!, "1"), accept(a!, "2")];
    await eventually(() => expect(held).toHaveLength(2));
    await a!.queue.close();
    expect(messages("tickets")).toBe(0);
    held[1]!.reject(new StreamFull("full"));
    await expect(refused).rejects.toMatchObject({ code: "storage_full" });
    held[0]!.resolve();
    await kept;
    await a!.queue.close();
    const subjects = fleet.network.stream(fleet.layout.streams.tickets).messages.map(({ subject }) => subject);
    expect(subjects).toEqual([fleet.layout.ticket("default", "n", "1")]);
    expect(a!.jobs.promised).toBe(0);
  });

  it("is sent again where the queue does not take it, and each failure is counted", async () => {
    const held = hold(a!, "tickets");
    await accept(a!);
    await eventually(() => expect(held).toHaveLength(1));
    vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] });
    for (const failed of [1, 2, 3]) {
      held.at(-1)!.reject(new StreamFull("full"));
      await vi.advanceTimersByTimeAsync(10_000);
      expect([failures, held.length]).toEqual([failed, failed + 1]);
    }
    expect(a!.jobs.promised).toBe(1);
    held.at(-1)!.resolve();
    vi.useRealTimers();
    await a!.queue.close();
    expect([failures, messages("tickets"), a!.jobs.promised]).toEqual([3, 1, 0]);
  });

  it("is not sent again when another gateway has made one meanwhile", async () => {
    const held = hold(a!, "tickets");
    await accept(a!);
    await eventually(() => expect(b!.map.get("1")).toBeDefined());
    await b!.reconciler.sweep(later());
    await eventually(() => expect([a!.map.get("1")?.tickets, held.length]).toEqual([2, 1]));
    held[0]!.reject(new StreamFull("full"));
    await a!.queue.close();
    expect([failures, held.length, messages("tickets"), a!.jobs.promised]).toEqual([1, 1, 1, 0]);
  });

  it("is made by another gateway when its own dies between the record and the ticket", async () => {
    a!.bus.atWrite = (moment) => {
      if (moment.startsWith("before put lc.t.")) void a!.bus.close();
    };
    expect(await accept(a!)).toBe(0);
    await eventually(() => expect(b!.map.get("1")).toBeDefined());
    expect(messages("tickets")).toBe(0);
    await b!.reconciler.sweep(later());
    const node = fleet.node("node");
    expect(await node.pull()).toBe(true);
    node.jobs.start("1");
    node.jobs.succeed("1");
    await eventually(async () =>
      expect(await b!.queue.status({ id: "1", owner: null })).toMatchObject({ kind: "ended" }),
    );
  });
});

describe("requests that are accepted at the same time", () => {
  it("count each other before any gateway has seen their records", async () => {
    const held = hold(a!, "state");
    const accepted = ["1", "2", "3"].map((id) => accept(a!, id));
    await eventually(() => expect(held).toHaveLength(3));
    for (const { resolve } of held) resolve();
    expect(await Promise.all(accepted)).toEqual([0, 1, 2]);
    vi.mocked(a!.bus.put).mockRestore();
    await eventually(() => expect(a!.map.get("3")).toBeDefined());
    expect(await accept(a!, "4")).toBe(3);
  });

  it("do not count one that was not kept", async () => {
    vi.spyOn(a!.store, "accept").mockRejectedValueOnce(new LatentcastError("overloaded"));
    await expect(accept(a!, "1")).rejects.toMatchObject({ code: "overloaded" });
    expect(await accept(a!, "2")).toBe(0);
  });
});

describe("a gateway that ends", () => {
  const sending = (publish: () => Promise<void>) => {
    const closing = new AbortController();
    const log = pino({ level: "silent" });
    const map = { get: () => undefined };
    const tickets = new FirstTickets({ tickets: { publish }, map, log, closing: closing.signal });
    const place = { [Symbol.dispose]: vi.fn<() => void>() };
    tickets.send({ id: "1", pool: "default", priority: "normal" }, place);
    return { tickets, closing, isFreed: () => place[Symbol.dispose].mock.calls.length > 0 };
  };

  it("waits for the tickets that are on their way", async () => {
    const { promise, resolve } = deferred<void>();
    const { tickets, closing, isFreed } = sending(() => promise);
    closing.abort();
    let isSettled = false;
    const settled = tickets.settled().then(() => (isSettled = true));
    await new Promise(setImmediate);
    expect([isSettled, isFreed()]).toEqual([false, false]);
    resolve();
    await settled;
    expect(isFreed()).toBe(true);
  });

  it("leaves those that the queue does not take to the others", async () => {
    const publish = vi.fn<() => Promise<void>>(() => Promise.reject(new StreamFull("full")));
    const { tickets, closing, isFreed } = sending(publish);
    await eventually(() => expect(publish).toHaveBeenCalledOnce());
    closing.abort();
    await tickets.settled();
    expect([publish.mock.calls.length, isFreed()]).toEqual([1, true]);
  });
});
