/** Queued requests over gateways and nodes that are processes, with three real NATS servers between them. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { eventually } from "../../support/eventually.ts";
import { FleetProcesses } from "../../support/fleet-processes.ts";
import { natsClusterForThisFile } from "../../support/nats-cluster.ts";
import { readEvents, resultOf, submit, type NamedEvent } from "../../support/queue.ts";
import type { ServerProcess } from "../../support/server-process.ts";
import { post } from "../../support/sse.ts";
import { startTestServer, type TestServer } from "../../support/server.ts";

const cluster = natsClusterForThisFile();
/** What everything is compared with. */
let alone: TestServer;

beforeAll(async () => {
  alone = await startTestServer({ worker: "fixture_worker" });
  await alone.ready();
});
afterAll(() => alone.close());

/** Steps that last long enough for listeners to come and go. */
const SLOW = { LATENTCAST_WORKER_FIXTURE_STEP_SECONDS: "0.15" };
const input = { prompt: "a lighthouse", seed: 7, output_format: "png", num_inference_steps: 20 };
const steps = (events: readonly NamedEvent[]): unknown[] =>
  events.filter(({ name }) => name === "progress").map(({ data }) => data["step"]);
const imageOf = (result: unknown): string => (result as { image: { url: string } }).image.url;

describe("a queued request", () => {
  it("is accepted by one gateway and served by another: status, events, result, with the bytes of a single process", async () => {
    await using fleet = await FleetProcesses.open(cluster());
    const [a, b] = await Promise.all([
      fleet.gateway(),
      fleet.gateway(),
      fleet.node("one", SLOW),
      fleet.node("two", SLOW),
    ]);
    await fleet.knows(a, 2);
    const reply = await submit(a.url, input);
    const at = (url: string) => ({
      response_url: `${url}/requests/${reply.request_id}`,
      status_url: `${url}/requests/${reply.request_id}/status`,
    });
    const events = (url: string, lastEventId?: string, last = -1) =>
      readEvents(`${url}/requests/${reply.request_id}/events`, {
        ...(lastEventId === undefined ? {} : { lastEventId }),
        isEnough: ({ name, data }) => name === "progress" && data["step"] === last,
      });
    const before = await events(a.url, undefined, 5);
    const after = await events(b.url, before.events.at(-1)!.id);
    const heard = [...steps(before.events), ...steps(after.events)];
    // A listener that comes late begins with how things stand; from there it misses nothing.
    expect(heard).toEqual(Array.from({ length: 20 }, (_, step) => step).slice(Number(heard[0])));
    expect(after.events.at(-1)).toMatchObject({ name: "result", id: "end" });
    const results = await Promise.all([a, b].map(async ({ url }) => (await resultOf(at(url))).json()));
    const single = await (await resultOf(await submit(alone.url, input))).json();
    expect(results.map(imageOf)).toEqual([imageOf(single), imageOf(single)]);
    expect((await readEvents(`${a.url}/requests/${reply.request_id}/events`, { lastEventId: "end" })).status).toBe(204);
  });
});

/** `name{labels}` to value. */
async function metricsOf({ url }: ServerProcess): Promise<ReadonlyMap<string, number>> {
  const lines = (await (await fetch(`${url}/metrics`)).text())
    .split("\n")
    .filter((line) => line.startsWith("latentcast_"));
  const split = (line: string): [string, number] => {
    const end = line.lastIndexOf(" ");
    return [line.slice(0, end), Number(line.slice(end + 1))];
  };
  return new Map(lines.map(split));
}

describe("two gateways", () => {
  let fleet: FleetProcesses;
  let [a, b]: ServerProcess[] = [];
  beforeAll(async () => {
    fleet = await FleetProcesses.open(cluster());
    // More than this file asks for.
    const limit = { LATENTCAST_RATE_LIMIT_PER_MINUTE: "401" };
    [a, b] = await Promise.all([fleet.gateway(limit), fleet.gateway(limit)]);
  });
  afterAll(() => fleet[Symbol.asyncDispose]());

  it("both show queued requests that wait, what each hop took, and how the servers are", async () => {
    const replies = await Promise.all([submit(a!.url, input), submit(b!.url, input)]);
    // No node is there yet, so what a scaler reads has to say that there is work.
    await eventually(async () => {
      for (const metrics of [await metricsOf(a!), await metricsOf(b!)]) {
        expect(metrics.get('latentcast_cluster_waiting{pool="default"}')).toBe(2);
        expect(metrics.get('latentcast_cluster_claimed{pool="default"}')).toBe(0);
      }
    });
    const node = await fleet.node("one");
    expect((await post(a!.url, input)).status).toBe(200);
    await Promise.all(replies.map(resultOf));

    const [gateway, drawing] = await eventually(async () => {
      const metrics = [await metricsOf(a!), await metricsOf(node)] as const;
      expect(metrics[0].get('latentcast_cluster_waiting{pool="default"}')).toBe(0);
      return metrics;
    });
    const hops = ["ticket", "claim", "start", "preview"].map((hop) =>
      gateway.get(`latentcast_cluster_hop_seconds_count{pool="default",hop="${hop}"}`),
    );
    expect(hops).toEqual([1, 1, 1, 1]);
    const atNode = (name: string, kind: string): number | undefined =>
      drawing.get(`latentcast_cluster_${name}{pool="default",kind="${kind}"}`);
    for (const name of ["ticket_age_seconds_count", "claim_seconds_count"])
      expect([atNode(name, "direct"), atNode(name, "queued")]).toEqual([1, 2]);
    expect(drawing.get('latentcast_cluster_duplicate_work_seconds_total{pool="default"}')).toBe(0);
    expect(drawing.get("latentcast_cluster_nats_rtt_seconds")).toBeGreaterThan(0);
    const { state } = fleet.layout.streams;
    expect(gateway.get(`latentcast_cluster_stream_bytes{stream="${state}"}`)).toBeGreaterThan(0);
    expect(gateway.get(`latentcast_cluster_stream_limit_bytes{stream="${state}"}`)).toBeGreaterThan(2 ** 20);
    expect(gateway.get(`latentcast_cluster_stream_servers_away{stream="${state}"}`)).toBe(0);
  });

  it("share the limits of a caller", async () => {
    await eventually(async () => {
      const responses = await Promise.all([a!, b!].map(({ url }) => post(url, {})));
      expect(responses.map(({ headers }) => headers.get("x-ratelimit-limit"))).toEqual(["201", "201"]);
    });
  });

  it("take an upload that the other one allows, and both serve it", async () => {
    const asked = { content_type: "image/png", file_name: "a.png" };
    const place = (await (await post(`${a!.url}/rest/storage/upload/initiate`, asked)).json()) as {
      upload_url: string;
    };
    const address = new URL(place.upload_url);
    const bytes = Buffer.from("these are the bytes");
    const there = `${b!.url}${address.pathname}`;
    const put = (url: string): Promise<Response> =>
      fetch(url, { method: "PUT", headers: { "content-type": "image/png" }, body: bytes });
    expect((await put(there)).status).toBe(403);
    expect((await put(`${there}${address.search}`)).status).toBe(200);
    for (const { url } of [a!, b!])
      expect(Buffer.from(await (await fetch(`${url}${address.pathname}`)).arrayBuffer())).toEqual(bytes);
  });
});
