/** Processes of several releases in one fleet, as during an upgrade: what the messages of the others may have, and what becomes of it. */
import { expect, it } from "vitest";
import type { Header } from "../../../src/cluster/bus.ts";
import { WIRE_VERSION } from "../../../src/cluster/wire.ts";
import { ended, request } from "../../contract/store-under-test.ts";
import { endOf, eventually, MemoryFleet } from "../../support/memory-fleet.ts";
import { openMemoryStreams } from "../../support/memory-streams.ts";
import { useMovingTime } from "../../support/moving-time.ts";
import { openFleetStore } from "../../support/nats-store.ts";

useMovingTime();

/** With a field that this release does not know, in every object. */
function withAdditions(value: Header): Header;
function withAdditions(value: unknown): unknown;
function withAdditions(value: unknown): unknown {
  if (Array.isArray(value)) return value.map((each: unknown) => withAdditions(each));
  if (typeof value !== "object" || value === null) return value;
  const fields = Object.entries(value).map(([name, field]) => [name, withAdditions(field)] as const);
  return { ...Object.fromEntries(fields), of_a_later_release: { x: 1 } };
}

it("a job is drawn from its ticket to its end while every message has fields of a later release", async () => {
  await using fleet = new MemoryFleet();
  fleet.network.says = withAdditions;
  const gateway = fleet.gateway();
  const { worker } = await fleet.node();
  const job = gateway.submit("a");
  await eventually(() => expect(worker.jobs).toEqual(["a"]));
  worker.start("a");
  worker.step("a", 0);
  worker.preview("a", 0);
  worker.finish("a");
  expect(await endOf(job)).toMatchObject({ kind: "succeeded", result: { seed: 1 } });
  await eventually(() => expect(fleet.tickets).toBe(0));
});

it("a queued request is accepted, begun and ended while every record has fields of a later release", async () => {
  const fleet = await openMemoryStreams({});
  fleet.network.says = withAdditions;
  const { requests } = await openFleetStore(() => Promise.resolve(fleet), {});
  await requests.accept(request("1"));
  const claim = await requests.claim("1", "a", 60_000);
  if (typeof claim === "string") throw new Error(claim);
  expect(await requests.end(claim, ended(1))).toBe(true);
  expect((await requests.ended("1"))?.body).toEqual(ended(1).body);
});

it("a ticket of a later version is left to others, and holds up nothing", async () => {
  await using fleet = new MemoryFleet();
  const gateway = fleet.gateway();
  const { worker } = await fleet.node();
  await eventually(() => expect(gateway.jobs.snapshot().status).toBe("ready"));
  const later = { pool: "default", attempt: 1, gateway: "gateway-1", revision: null, traceparent: null };
  fleet.putTicket("later", { v: WIRE_VERSION + 1, id: "later", ...later });
  const job = gateway.submit("a");
  await eventually(() => expect(worker.jobs).toEqual(["a"]));
  worker.start("a");
  worker.finish("a");
  expect(await endOf(job)).toMatchObject({ kind: "succeeded" });
  await eventually(() => expect(fleet.tickets).toBe(1));
});

it("a process of a later version is not heard, and a gateway goes on with those that it understands", async () => {
  await using fleet = new MemoryFleet();
  const gateway = fleet.gateway();
  const { worker } = await fleet.node();
  const stranger = fleet.network.connect();
  await eventually(() => expect(gateway.fleet.nodes).toHaveLength(1));
  const [beat] = gateway.fleet.nodes;
  stranger.publish(fleet.layout.heartbeat, { ...beat, v: WIRE_VERSION + 1, name: "stranger" });
  await gateway.fleet.changed();
  expect(gateway.fleet.nodes.map(({ name }) => name)).toEqual(["node-1"]);
  gateway.submit("a");
  await eventually(() => expect(worker.jobs).toEqual(["a"]));
});

it("a pool whose record is of another version is joined once no node of this one draws for it, as after a roll back", async () => {
  await using fleet = new MemoryFleet();
  const other = fleet.network.connect();
  const record = { v: WIRE_VERSION + 1, fingerprint: "x" };
  await other.put(fleet.layout.streams.state, fleet.layout.pool("default"), record, Buffer.alloc(0), { id: "x" });
  const gateway = fleet.gateway();
  const { worker, node } = await fleet.node();
  await eventually(() => expect(node.beat.state).toBe("ready"));
  gateway.submit("a");
  await eventually(() => expect(worker.jobs).toEqual(["a"]));
});
