/**
 * What is left when a process of a fleet dies before or after any of its writes: nothing that others do not bring to an end. The fleet is
 * in memory, since no real process dies at exactly such a point; the stores are a fleet's own.
 */
import { describe, expect, it } from "vitest";
import type { FleetStateStore } from "../../../src/cluster/storage/state-store.ts";
import { generateInput } from "../../../src/schema/input.ts";
import type { NodeBeat } from "../../../src/cluster/wire.ts";
import { request } from "../../contract/store-under-test.ts";
import { eventually } from "../../support/eventually.ts";
import { dataUri, twoColours } from "../../support/images.ts";
import { Judge } from "../../support/judge.ts";
import type { MemoryBus } from "../../support/memory-bus.ts";
import {
  memoryFleet,
  type MemoryFleet,
  type MemoryGateway,
  type MemoryNode,
} from "../../support/memory-request-fleet.ts";

/** Far more than there are. */
const MAX_POINTS = 200;
const AT_ONCE = 12;
const ref = { id: "1", owner: null };
/** More than fits into a record: where the image is in the response, the response is a file. */
const image = (text: string) => ({
  ...{ bytes: Buffer.alloc(40_000, text), contentType: "image/png", width: 8, height: 8, seed: 7 },
});
const START = twoColours(16, 16, "red", "blue");
const later = (): number => performance.now() + 60_000;

/** Its ticket may still be on its way then. @param sync_mode Whether the image is in the response, or a file of its own. */
async function accept(gateway: MemoryGateway, sync_mode = false): Promise<void> {
  const { app, dialect, baseUrl, priority, traceparent } = request("1");
  const image_url = dataUri(await START);
  const input = generateInput.parse({ prompt: "x", seed: 7, sync_mode, image_url });
  await gateway.queue.accept(
    {
      ...{ ...ref, app, dialect, baseUrl, priority, traceparent },
      webhookUrl: "http://hook/",
      startTimeoutMs: undefined,
    },
    input,
  );
}

interface Death {
  /** What it died before or after; undefined when there are fewer points. */
  readonly point: string | undefined;
}

/** @param onDeath The last that it can say is what it says then. */
function dieAt(bus: MemoryBus, point: number, onDeath: () => void): Death {
  const death = { point: undefined as string | undefined };
  let moments = 0;
  bus.atWrite = (moment) => {
    if (moments === point) {
      death.point = moment;
      onDeath();
      void bus.close();
    }
    moments += 1;
  };
  return death;
}

async function draw(node: MemoryNode): Promise<void> {
  const drawn = node.jobs.byId.get("1");
  await node.pull();
  if (node.jobs.byId.get("1") === drawn) return;
  node.jobs.start("1");
  node.jobs.succeed("1", [image(`of ${node.name}`)]);
}

const messages = ({ network }: MemoryFleet, stream: string): number => network.stream(stream).messages.length;

/** Others bring it to its end: once, with an image that is whole, announced, and without anything left over. */
async function endsRight(fleet: MemoryFleet, judge: Judge, gateway: MemoryGateway, node: MemoryNode): Promise<void> {
  const { tickets, hooks, inputs } = fleet.layout.streams;
  await eventually(async () => {
    await gateway.reconciler.sweep(later());
    if (messages(fleet, tickets) > 0) await draw(node);
    expect(judge.verdict.unended).toEqual([]);
    expect(messages(fleet, tickets)).toBe(0);
  });
  expect(judge.verdict.endedTwice).toEqual([]);
  const response = await gateway.queue.response(ref);
  expect(response).toMatchObject({ status: 200 });
  const { image: shown } = JSON.parse(String(response!.body)) as { image: { url: string } };
  const [first, second] = ["of first", "of second"].map((text) => image(text).bytes);
  expect([first, second]).toContainEqual(await bytesAt(gateway, shown.url));
  const stop = new AbortController();
  const delivering = (async () => {
    for (
      let due = await gateway.store.nextWebhook(stop.signal);
      due;
      due = await gateway.store.nextWebhook(stop.signal)
    )
      await gateway.store.settleWebhook(due, null);
  })();
  await eventually(async () => {
    await gateway.reconciler.sweep(later());
    expect([gateway.map.get("1"), messages(fleet, hooks)]).toEqual([undefined, 0]);
  });
  stop.abort();
  await delivering;
  await (gateway.store as FleetStateStore).sweep(Number.POSITIVE_INFINITY);
  expect(messages(fleet, inputs)).toBe(0);
  expect(await gateway.queue.response(ref)).toMatchObject({ status: 200 });
}

async function bytesAt({ objects }: MemoryGateway, url: string): Promise<Buffer> {
  if (url.startsWith("data:")) return Buffer.from(url.slice(url.indexOf(",") + 1), "base64");
  return Buffer.concat(await (await objects.open(url.split("/").at(-1)!)).toArray());
}

interface Parts {
  readonly fleet: MemoryFleet;
  readonly judge: Judge;
  readonly gateway: MemoryGateway;
  readonly doomed: MemoryGateway;
  readonly first: MemoryNode;
  readonly second: MemoryNode;
  /** The last heartbeat of the first node before the death. */
  lastBeat: NodeBeat;
}

/** Each point in a fleet of its own, some at a time. Resolves with all that there are. */
async function everyPoint(
  victim: (parts: Parts) => MemoryBus,
  run: (parts: Parts, death: Death) => Promise<void>,
): Promise<string[]> {
  const points: string[] = [];
  for (let first = 0; first < MAX_POINTS; first += AT_ONCE) {
    const tried = Array.from({ length: AT_ONCE }, (_, index) => onePoint(first + index, victim, run));
    const found = (await Promise.all(tried)).filter((point) => point !== undefined);
    points.push(...found);
    if (found.length < AT_ONCE) break;
  }
  return points;
}

async function onePoint(
  point: number,
  victim: (parts: Parts) => MemoryBus,
  run: (parts: Parts, death: Death) => Promise<void>,
): Promise<string | undefined> {
  await using fleet = await memoryFleet("streams");
  const [gateway, doomed] = [await fleet.gateway("a"), await fleet.gateway("b")];
  using judge = new Judge(fleet.network.connect(), fleet.layout);
  const [first, second] = [fleet.node("first"), fleet.node("second")];
  const parts = { fleet, judge, gateway, doomed, first, second, lastBeat: first.beat };
  const death = dieAt(victim(parts), point, () => {
    parts.lastBeat = first.beat;
  });
  await run(parts, death);
  return death.point;
}

/** What it died before and after, without names. */
const writes = (points: readonly string[]): string[] => [
  ...new Set(points.map((point) => point.replace(/^\w+ (\w+) lc\.(\w+).*$/, "$1 $2"))),
];

describe("a process that dies before or after any of its writes", () => {
  it.each([true, false])(
    "leaves a request that a node has pulled to another node, which ends it once: %s",
    async (sync) => {
      const points = await everyPoint(
        ({ first }) => first.bus,
        async (parts, death) => {
          const { fleet, judge, gateway, first, second } = parts;
          await accept(gateway, sync);
          await gateway.queue.close();
          await draw(first);
          await eventually(() => expect(death.point ?? messages(fleet, fleet.layout.streams.tickets)).not.toBe(1));
          if (death.point !== undefined) gateway.mourn({ name: first.name, beat: parts.lastBeat });
          await endsRight(fleet, judge, gateway, second);
        },
      );
      expect(writes(points)).toEqual(["put s", sync ? "put k" : "put f", "purge k", "put h", "ack t"]);
    },
  );

  it("leaves a request that a gateway accepts to the others, or nothing of it", async () => {
    const points = await everyPoint(
      ({ doomed }) => doomed.bus,
      async ({ fleet, judge, gateway, doomed, second }, death) => {
        const isAccepted = await accept(doomed).then(
          () => true,
          () => false,
        );
        if (isAccepted || judge.knows("1")) return endsRight(fleet, judge, gateway, second);
        expect(death.point).toBeDefined();
        await (gateway.store as FleetStateStore).sweep(Number.POSITIVE_INFINITY);
        expect(messages(fleet, fleet.layout.streams.inputs)).toBe(0);
      },
    );
    expect(writes(points)).toEqual(["put k", "put s", "put t"]);
  });

  it("leaves a webhook that a gateway delivers to the others", async () => {
    const points = await everyPoint(
      ({ doomed }) => doomed.bus,
      async ({ fleet, judge, gateway, doomed, first, second }, death) => {
        await accept(gateway);
        await gateway.queue.close();
        await draw(first);
        await eventually(() => expect(judge.verdict.unended).toEqual([]));
        const due = await doomed.store.nextWebhook(new AbortController().signal);
        expect(due).toMatchObject({ id: "1" });
        await doomed.store.settleWebhook(due!, null).catch(() => expect(death.point).toBeDefined());
        await endsRight(fleet, judge, gateway, second);
      },
    );
    expect(writes(points)).toEqual(["put s", "ack h"]);
  });
});
