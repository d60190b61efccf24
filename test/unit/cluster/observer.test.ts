/** What is counted between the machines of a fleet, in memory: tickets, claims, and runs that were thrown away. */
import { describe, expect, it, vi } from "vitest";
import type { FleetObserver } from "../../../src/cluster/observer.ts";
import { generateInput } from "../../../src/schema/input.ts";
import { request } from "../../contract/store-under-test.ts";
import { endOf, eventually, MemoryFleet } from "../../support/memory-fleet.ts";
import { memoryFleet } from "../../support/memory-request-fleet.ts";
import { useMovingTime } from "../../support/moving-time.ts";

/** More than the silence after which a node is dead. */
const DEATH_MS = 8_000;

/** Notes what is counted, without the times. */
function notes(): { readonly noted: string[]; readonly observer: FleetObserver } {
  const noted: string[] = [];
  return {
    noted,
    observer: {
      ticketPulled: (kind) => void noted.push(`pulled ${kind}`),
      ticketRedelivered: (kind) => void noted.push(`redelivered ${kind}`),
      ticketClaimed: (kind) => void noted.push(`claimed ${kind}`),
      runWasted: ({ id }) => void noted.push(`wasted ${id}`),
      requestReticketed: () => void noted.push("reticketed"),
    },
  };
}

describe("of a direct request", () => {
  useMovingTime();

  it("its ticket and its claim are counted where it is drawn, and nothing else", async () => {
    await using fleet = new MemoryFleet();
    const gateway = fleet.gateway();
    const { noted, observer } = notes();
    const { worker } = await fleet.node("node-1", { observer });
    const job = gateway.submit("a");
    await eventually(() => expect(worker.jobs).toEqual(["a"]));
    worker.start("a");
    worker.finish("a");
    await endOf(job);
    await eventually(() => expect(fleet.tickets).toBe(0));
    expect(noted).toEqual(["pulled direct", "claimed direct"]);
  });

  it("the second run is redelivered, and the first one wasted when its node wakes up", async () => {
    await using fleet = new MemoryFleet();
    const gateway = fleet.gateway();
    const [asleep, awake] = [notes(), notes()];
    const sleeper = await fleet.node("sleeper", { observer: asleep.observer });
    const job = gateway.submit("a");
    await eventually(() => expect(sleeper.worker.jobs).toEqual(["a"]));
    sleeper.worker.start("a");
    const other = await fleet.node("other", { observer: awake.observer });
    sleeper.die();
    await vi.advanceTimersByTimeAsync(DEATH_MS);
    await eventually(() => expect(other.worker.jobs).toEqual(["a.1.2"]));
    other.worker.start("a.1.2");
    await eventually(() => expect(job.state.kind).toBe("running"));
    sleeper.bus.isConnected = true;
    sleeper.worker.finish("a");
    await eventually(() => expect(asleep.noted.at(-1)).toBe("wasted a"));
    other.worker.finish("a.1.2");
    await endOf(job);
    expect(asleep.noted).toEqual(["pulled direct", "claimed direct", "wasted a"]);
    expect(awake.noted).toEqual(["redelivered direct", "claimed direct"]);
  });
});

describe("of a queued request", () => {
  const input = generateInput.parse({ prompt: "x", seed: 7 });
  const { app, dialect, baseUrl, priority, webhookUrl, traceparent } = request("1");
  const submission = {
    ...{ id: "1", owner: null, app, dialect, baseUrl, priority, webhookUrl, traceparent },
    startTimeoutMs: undefined,
  };

  it("the run of a node that was found dead is wasted, and that of the next one is not", async () => {
    await using fleet = await memoryFleet();
    const gateway = await fleet.gateway("a");
    const [dead, alive] = [notes(), notes()];
    const [first, second] = [fleet.node("first", dead.observer), fleet.node("second", alive.observer)];
    await gateway.queue.accept(submission, input);
    await gateway.queue.close();
    expect(await first.pull()).toBe(true);
    first.jobs.start("1");
    gateway.mourn(first);
    await vi.waitFor(async () => expect(await second.pull()).toBe(true), 10_000);
    second.jobs.start("1");
    first.jobs.succeed("1");
    await vi.waitFor(() => expect(dead.noted).toHaveLength(2), 10_000);
    second.jobs.succeed("1");
    await vi.waitFor(async () => expect((await fleet.store.find("1"))?.result).toMatchObject({ error: null }), 10_000);
    expect(dead.noted).toEqual(["claimed queued", expect.stringMatching(/^wasted 1/)]);
    expect(alive.noted).toEqual(["claimed queued"]);
  });

  it("a run whose request was cancelled meanwhile is not work done twice", async () => {
    await using fleet = await memoryFleet();
    const gateway = await fleet.gateway("a");
    const { noted, observer } = notes();
    const node = fleet.node("first", observer);
    await gateway.queue.accept(submission, input);
    await gateway.queue.close();
    expect(await node.pull()).toBe(true);
    node.jobs.start("1");
    // The node does not hear of it.
    fleet.network.drops = (subject) => subject === fleet.layout.cancel;
    await gateway.queue.cancel({ id: "1", owner: null });
    node.jobs.succeed("1");
    await node.durable.close();
    expect(noted).toEqual(["claimed queued"]);
  });
});
