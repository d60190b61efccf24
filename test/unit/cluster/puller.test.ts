/** Which tickets a machine takes from the shared queue, over a bus in memory. Its one device holds as many jobs as it has places. */
import { afterEach, describe, expect, it } from "vitest";
import type { TicketClass } from "../../../src/cluster/layout.ts";
import { Puller } from "../../../src/cluster/node/puller.ts";
import type { PullRule } from "../../../src/cluster/node/pull-rule.ts";
import { eventually } from "../../support/memory-fleet.ts";
import { openMemoryStreams, type MemoryStreams } from "../../support/memory-streams.ts";
import { useMovingTime } from "../../support/moving-time.ts";

useMovingTime();

const anybody: PullRule = { mayPull: ({ device, slots }) => device.held < slots, priority: () => 0 };
const IDLE = {
  slot: 0,
  hasRoom: true,
  newcomers: 0,
  rows: 1,
  stepSeconds: 0.1,
  firstPreviewSeconds: 0.1,
  backlogSeconds: 0,
};
const EMPTY = Buffer.alloc(0);

let stopMachine: (() => Promise<void>) | undefined;
afterEach(() => stopMachine?.());

interface Machine {
  /** Ids of what it has taken, oldest first. */
  readonly held: string[];
  put(ticketClass: TicketClass, id: string): void;
  finish(id: string): void;
  waiting(ticketClass: TicketClass): number;
}

async function machine(places: number): Promise<Machine> {
  const { layout, network, connect }: MemoryStreams = await openMemoryStreams();
  const bus = await connect();
  const held: string[] = [];
  const consumers = { n: layout.tickets("default", "n"), l: layout.tickets("default", "l") };
  const puller = new Puller({
    ...{ bus, consumers, rule: anybody, slots: places },
    offer: () => ({ queued: 0, devices: [{ ...IDLE, held: held.length }] }),
    elsewhere: () => [],
    imageSteps: () => 20,
    isOpen: () => true,
    take: async ({ subject, ack }) => {
      await ack();
      held.push(subject.split(".").at(-1)!);
    },
  });
  puller.start();
  stopMachine = () => puller.stop();
  const stream = network.stream(layout.streams.tickets);
  return {
    held,
    put: (ticketClass, id) => void stream.put(layout.ticket("default", ticketClass, id), {}, EMPTY, { id }),
    finish: (id) => {
      held.splice(held.indexOf(id), 1);
      puller.wake();
    },
    waiting: (ticketClass) => network.consumer(consumers[ticketClass]).waiting,
  };
}

describe("work of low priority", () => {
  it("is taken while two places are free and nothing else comes", async () => {
    const { held, put } = await machine(2);
    put("l", "low");
    await eventually(() => expect(held).toEqual(["low"]));
  });

  it("is left where it would have the last place beside normal work, though it was asked for before that came", async () => {
    const { held, put, finish, waiting } = await machine(2);
    put("n", "first");
    await eventually(() => expect(held).toEqual(["first"]));
    put("l", "low");
    put("n", "second");
    await eventually(() => expect(held).toEqual(["first", "second"]));
    expect(waiting("l")).toBe(1);
    finish("first");
    put("n", "third");
    await eventually(() => expect(held).toEqual(["second", "third"]));
    finish("second");
    finish("third");
    await eventually(() => expect(held).toEqual(["low"]));
  });

  it("that comes at the same moment as normal work is given back", async () => {
    const { held, put, finish, waiting } = await machine(2);
    put("n", "normal");
    put("l", "low");
    await eventually(() => expect(held).toEqual(["normal"]));
    put("n", "next");
    await eventually(() => expect(held).toEqual(["normal", "next"]));
    expect(waiting("n")).toBe(0);
    finish("normal");
    finish("next");
    await eventually(() => expect(held).toEqual(["low"]));
  });
});
