/** What every implementation of `Bus` has to do. */
import { describe, expect, it } from "vitest";
import { BusTimeout, NoResponders, StreamFull, WrongSequence } from "../../src/cluster/bus.ts";
import type { Bus, BusMessage, Delivery, Stored } from "../../src/cluster/bus.ts";
import type { Layout, LayoutOptions } from "../../src/cluster/layout.ts";
import { eventually } from "../support/eventually.ts";

export interface BusUnderTest extends AsyncDisposable {
  readonly layout: Layout;
  /** A process of its own. */
  connect(): Promise<Bus>;
}

/** Streams of its own for each call. */
export type OpenBus = (options?: LayoutOptions) => Promise<BusUnderTest>;

const EMPTY = Buffer.alloc(0);
const PULL_MS = 20_000;
let writes = 0;
const id = (): string => `write-${(writes += 1)}`;

/** @param ackWaitMs Long enough for a busy machine to send a sign of life twenty times. */
export function busContract(open: OpenBus, ackWaitMs: number): void {
  describe("a core message", () => {
    it("reaches every listener whose filter it fits, in the order of sending", async () => {
      await using fleet = await open();
      const [sender, one, other] = [await fleet.connect(), await fleet.connect(), await fleet.connect()];
      const heard: Record<string, string[]> = { one: [], other: [], closed: [] };
      const note = (name: string) => (message: BusMessage) => {
        heard[name]!.push(`${message.subject}:${text(message)}`);
      };
      one.subscribe("x.*.y", note("one"));
      other.subscribe("x.>", note("other"));
      other.subscribe("x.>", note("closed")).close();
      // Servers tell each other about listeners: what is sent before they have goes nowhere.
      await eventually(() => {
        sender.publish("x.0.y", {}, Buffer.from("ready"));
        for (const name of ["one", "other"]) expect(heard[name]).not.toEqual([]);
      });
      for (let count = 0; count < 50; count += 1) sender.publish("x.1.y", { count }, Buffer.from(String(count)));
      sender.publish("x", {});
      sender.publish("x.1", {}, Buffer.from("last"));
      sender.publish("x.2.y", {}, Buffer.from("end"));
      const numbers = Array.from({ length: 50 }, (_, count) => `x.1.y:${count}`);
      await eventually(() => {
        for (const name of ["one", "other"]) expect(heard[name]?.at(-1)).toBe("x.2.y:end");
      });
      const afterReady = (name: string): string[] => heard[name]!.filter((each) => each !== "x.0.y:ready");
      expect(afterReady("one")).toEqual([...numbers, "x.2.y:end"]);
      expect(afterReady("other")).toEqual([...numbers, "x.1:last", "x.2.y:end"]);
      expect(heard["closed"]).toEqual([]);
    });

    it("carries any JSON and any bytes", async () => {
      await using fleet = await open();
      const [asking, answering] = [await fleet.connect(), await fleet.connect()];
      const bytes = Buffer.from(Array.from({ length: 256 }, (_, byte) => byte));
      answering.subscribe("echo", ({ header, payload, reply }) => reply({ heard: header }, payload));
      const header = { text: "Grüße \u2028 🌊\r\n", list: [1, null, { a: true }] };
      const answer = await eventually(() => asking.request("echo", header, { payload: bytes, timeoutMs: 10_000 }));
      expect(answer.header).toEqual({ heard: header });
      expect(answer.payload).toEqual(bytes);
    });

    it("that asks where nobody listens is refused, and where nobody answers times out", async () => {
      await using fleet = await open();
      const [asking, silent] = [await fleet.connect(), await fleet.connect()];
      await expect(asking.request("nobody", {}, { timeoutMs: 10_000 })).rejects.toThrow(NoResponders);
      silent.subscribe("silent", () => undefined);
      await eventually(() => expect(asking.request("silent", {}, { timeoutMs: 20 })).rejects.toThrow(BusTimeout));
    });
  });

  describe("a record", () => {
    it("is found as it was written last, by everybody", async () => {
      await using fleet = await open();
      const [bus, other] = [await fleet.connect(), await fleet.connect()];
      const { state } = fleet.layout.streams;
      expect(await bus.get(state, fleet.layout.state("a"))).toBeUndefined();
      const first = await bus.put(state, fleet.layout.state("a"), { k: "ö" }, Buffer.from([0, 255]), { id: id() });
      const second = await bus.put(state, fleet.layout.state("a"), { k: 2 }, EMPTY, { id: id() });
      expect(second).toBeGreaterThan(first);
      expect(await other.get(state, fleet.layout.state("a"))).toMatchObject({
        subject: fleet.layout.state("a"),
        header: { k: 2 },
        payload: EMPTY,
        sequence: second,
      });
      expect((await other.fill(state)).messages).toBe(1);
    });

    it("of another's is found nearby in the end", async () => {
      await using fleet = await open();
      const [bus, other] = [await fleet.connect(), await fleet.connect()];
      const { streams } = fleet.layout;
      const bytes = Buffer.from([0, 200, 255]);
      const sequence = await bus.put(streams.files, fleet.layout.fileParts.head("a.png"), { type: "ü" }, bytes, {
        id: id(),
      });
      await eventually(async () =>
        expect(await other.getNearby(streams.files, fleet.layout.fileParts.head("a.png"))).toMatchObject({
          header: { type: "ü" },
          payload: bytes,
          sequence,
        }),
      );
      expect(await other.getNearby(streams.files, fleet.layout.fileParts.head("b.png"))).toBeUndefined();
    });

    it("has one winner when many replace it at once", async () => {
      await using fleet = await open();
      const buses = await Promise.all([1, 2, 3].map(() => fleet.connect()));
      const { streams, state } = fleet.layout;
      let expected = 0;
      for (let round = 0; round < 5; round += 1) {
        const results = await Promise.allSettled(
          buses.flatMap((bus) =>
            [1, 2, 3].map(() => bus.put(streams.state, state("a"), { round }, EMPTY, { expected, id: id() })),
          ),
        );
        const won = results.filter((result) => result.status === "fulfilled");
        const lost = results.filter((result) => result.status === "rejected");
        expect(lost.map(({ reason }) => reason)).toEqual(lost.map(() => expect.any(WrongSequence)));
        expect(won).toHaveLength(1);
        expected = won[0]!.value;
        expect((await buses[0]!.get(streams.state, state("a")))?.sequence).toBe(expected);
      }
    });

    it("is written once under one id, also when it was removed in between; a refused write leaves its id free", async () => {
      await using fleet = await open();
      const bus = await fleet.connect();
      const { streams, state } = fleet.layout;
      const put = (name: string, expected: number): Promise<number> =>
        bus.put(streams.state, state("a"), { name }, EMPTY, { expected, id: name });
      const first = await put("one", 0);
      expect(await put("one", 0)).toBe(first);
      await expect(put("two", 0)).rejects.toThrow(WrongSequence);
      const second = await put("two", first);
      expect(second).toBeGreaterThan(first);
      await bus.purge(streams.state, state("a"));
      expect(await put("two", first)).toBe(second);
      expect(await bus.get(streams.state, state("a"))).toBeUndefined();
    });

    it("goes after its time", async () => {
      await using fleet = await open();
      const bus = await fleet.connect();
      const { streams, state } = fleet.layout;
      await bus.put(streams.state, state("a"), {}, EMPTY, { id: id(), ttlMs: 1_000 });
      await bus.put(streams.state, state("b"), {}, EMPTY, { id: id(), ttlMs: 600_000 });
      await eventually(async () => expect(await bus.get(streams.state, state("a"))).toBeUndefined());
      expect(await bus.get(streams.state, state("b"))).toBeDefined();
    });
  });

  describe("a stream", () => {
    it("that is full refuses what is new, until something is removed", async () => {
      await using fleet = await open({ inputBytes: 2 ** 18 });
      const bus = await fleet.connect();
      const { streams, inputParts } = fleet.layout;
      const put = (key: string): Promise<number> =>
        bus.put(streams.inputs, inputParts.head(key), {}, Buffer.alloc(100_000), { id: id() });
      await put("a");
      await put("b");
      await expect(put("c")).rejects.toThrow(StreamFull);
      expect(await bus.fill(streams.inputs)).toMatchObject({ messages: 2, maxBytes: 2 ** 18 });
      expect((await bus.fill(streams.inputs)).bytes).toBeGreaterThan(200_000);
      await bus.purge(streams.inputs, inputParts.everythingOf("a"));
      await put("c");
    });

    it("of files drops the oldest instead", async () => {
      await using fleet = await open({ filesBytes: 2 ** 18 });
      const bus = await fleet.connect();
      const { streams, fileParts } = fleet.layout;
      for (const key of ["a", "b", "c"])
        await bus.put(streams.files, fileParts.head(key), {}, Buffer.alloc(100_000), { id: id() });
      const kept = await Promise.all(["a", "b", "c"].map((key) => bus.get(streams.files, fileParts.head(key))));
      expect(kept.map((stored) => stored !== undefined)).toEqual([false, true, true]);
    });

    it("is watched from what is newest of each subject on", async () => {
      await using fleet = await open();
      const [bus, other] = [await fleet.connect(), await fleet.connect()];
      const { layout } = fleet;
      const put = (name: string, text: string): Promise<number> =>
        bus.put(layout.streams.state, layout.state(name), { text }, Buffer.from(text), { id: id() });
      for (const [name, said] of [
        ["a", "1"],
        ["b", "2"],
        ["a", "3"],
      ] as const)
        await put(name, said);
      await bus.put(layout.streams.state, layout.pool("p"), {}, EMPTY, { id: id() });
      const stop = new AbortController();
      const seen = collect(
        other.watch(layout.streams.state, layout.everyState, { signal: stop.signal, headersOnly: true }),
      );
      await eventually(() => expect(seen.said).toEqual(["2", "3", "caught-up"]));
      await put("b", "4");
      await eventually(() => expect(seen.said).toEqual(["2", "3", "caught-up", "4"]));
      expect(seen.stored.map(({ payload }) => payload.byteLength)).toEqual([0, 0, 0]);
      stop.abort();
      await seen.done;
    });

    it("that is empty is caught up with at once, and shows bytes when asked to", async () => {
      await using fleet = await open();
      const bus = await fleet.connect();
      const { layout } = fleet;
      const stop = new AbortController();
      const seen = collect(
        bus.watch(layout.streams.state, layout.everyState, { signal: stop.signal, headersOnly: false }),
      );
      await eventually(() => expect(seen.said).toEqual(["caught-up"]));
      await bus.put(layout.streams.state, layout.state("a"), { text: "1" }, Buffer.from("bytes"), { id: id() });
      await eventually(() => expect(seen.said).toEqual(["caught-up", "1"]));
      expect(seen.stored[0]?.payload.toString()).toBe("bytes");
      stop.abort();
      await seen.done;
    });
  });

  describe("a ticket", () => {
    const ticket = async (fleet: BusUnderTest, bus: Bus, name: string): Promise<void> => {
      const { streams } = fleet.layout;
      await bus.put(streams.tickets, fleet.layout.ticket("default", "n", name), { name }, EMPTY, { id: id() });
    };
    const consumer = ({ layout }: BusUnderTest) => layout.tickets("default", "n");

    it("is had by one, and is gone when it is acknowledged", async () => {
      await using fleet = await open();
      const [bus, other] = [await fleet.connect(), await fleet.connect()];
      const pulls = [1, 2].map(() => bus.pull(consumer(fleet), { expiresMs: PULL_MS }));
      for (const name of ["a", "b"]) await ticket(fleet, other, name);
      const had = (await Promise.all(pulls)) as Delivery[];
      expect(had.map(({ header }) => (header as { name: string }).name).toSorted()).toEqual(["a", "b"]);
      expect(had.map(({ deliveries }) => deliveries)).toEqual([1, 1]);
      await eventually(async () =>
        expect(await other.pending(consumer(fleet))).toEqual({ waiting: 0, delivered: 2, pulls: 0 }),
      );
      await had[0]!.ack();
      expect(await other.pending(consumer(fleet))).toMatchObject({ waiting: 0, delivered: 1 });
      // The consumer confirms it, and the stream's servers remove it.
      await eventually(async () => expect((await other.fill(fleet.layout.streams.tickets)).messages).toBe(1));
    });

    it("is not waited for longer than was asked, or than the signal allows", async () => {
      await using fleet = await open();
      const bus = await fleet.connect();
      expect(await bus.pull(consumer(fleet), { expiresMs: 100 })).toBeUndefined();
      const stop = new AbortController();
      const pulling = bus.pull(consumer(fleet), { expiresMs: PULL_MS, signal: stop.signal });
      stop.abort();
      expect(await pulling).toBeUndefined();
      await ticket(fleet, bus, "a");
      expect(await bus.pull(consumer(fleet), { expiresMs: PULL_MS })).toMatchObject({ header: { name: "a" } });
    });

    it("that is given back is had again, before those that came later", async () => {
      await using fleet = await open();
      const bus = await fleet.connect();
      for (const name of ["a", "b"]) await ticket(fleet, bus, name);
      const first = await bus.pull(consumer(fleet), { expiresMs: PULL_MS });
      first?.nak();
      await eventually(async () => expect(await bus.pending(consumer(fleet))).toBeDefined());
      const second = await bus.pull(consumer(fleet), { expiresMs: PULL_MS });
      expect(second).toMatchObject({ header: { name: "a" }, deliveries: 2 });
    });

    it("can be taken from its holder by a stranger, again and again", async () => {
      await using fleet = await open();
      const [holder, stranger] = [await fleet.connect(), await fleet.connect()];
      await ticket(fleet, holder, "a");
      const first = (await holder.pull(consumer(fleet), { expiresMs: PULL_MS }))!;
      for (const deliveries of [2, 3]) {
        stranger.nakAt(first.ackSubject);
        expect(await stranger.pull(consumer(fleet), { expiresMs: PULL_MS })).toMatchObject({ deliveries });
      }
    });

    it("comes again when its holder keeps silent, and not while it works", { timeout: 60_000 }, async () => {
      await using fleet = await open({ ticketAckWaitMs: ackWaitMs });
      const [holder, other] = [await fleet.connect(), await fleet.connect()];
      await ticket(fleet, holder, "a");
      const first = (await holder.pull(consumer(fleet), { expiresMs: PULL_MS }))!;
      const working = setInterval(() => first.working(), ackWaitMs / 20);
      const early = await other.pull(consumer(fleet), { expiresMs: 1.25 * ackWaitMs });
      clearInterval(working);
      expect(early).toBeUndefined();
      expect(await other.pull(consumer(fleet), { expiresMs: PULL_MS })).toMatchObject({ deliveries: 2 });
    });

    it("goes to the best offer of those who wait", async () => {
      await using fleet = await open();
      const bus = await fleet.connect();
      const stop = new AbortController();
      const [worse, better] = [5, 1].map((priority) =>
        bus.pull(consumer(fleet), { expiresMs: PULL_MS, priority, signal: stop.signal }),
      );
      await eventually(async () => expect(await bus.pending(consumer(fleet))).toMatchObject({ pulls: 2 }));
      await ticket(fleet, bus, "a");
      expect(await better).toMatchObject({ header: { name: "a" } });
      stop.abort();
      expect(await worse).toBeUndefined();
    });
  });
}

const text = ({ payload }: BusMessage): string => payload.toString();

interface Seen {
  readonly stored: Stored[];
  /** The header's `text` of each message. */
  readonly said: string[];
  readonly done: Promise<void>;
}

function collect(watched: AsyncIterable<Stored | "caught-up">): Seen {
  const [stored, said]: [Stored[], string[]] = [[], []];
  const done = (async (): Promise<void> => {
    for await (const each of watched) {
      if (each !== "caught-up") stored.push(each);
      said.push(each === "caught-up" ? each : (each.header as { text: string }).text);
    }
  })();
  return { stored, said, done };
}
