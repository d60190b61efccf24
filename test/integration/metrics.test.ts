import { readFile } from "node:fs/promises";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { eventually } from "../support/eventually.ts";
import { startTestServer, type TestServer } from "../support/server.ts";
import { post, postStream } from "../support/sse.ts";

type Samples = ReadonlyMap<string, number>;

/** `name{labels}` to value. */
async function scrape(url: string): Promise<Samples> {
  const response = await fetch(`${url}/metrics`);
  expect(response.headers.get("content-type")).toContain("text/plain");
  const lines = (await response.text()).split("\n").filter((line) => line !== "" && !line.startsWith("#"));
  return new Map(
    lines.map((line) => [line.slice(0, line.lastIndexOf(" ")), Number(line.slice(line.lastIndexOf(" ") + 1))]),
  );
}

describe("GET /metrics", () => {
  let server: TestServer;
  beforeAll(async () => {
    server = await startTestServer({ worker: "crash_mid_job", env: { LATENTCAST_DEVICES: "cpu,cpu" } });
    await server.ready();
    await eventually(() => expect(server.jobs.snapshot().workers.every(({ state }) => state === "ready")).toBe(true));
  });
  afterAll(() => server.close());

  it("counts an image from acceptance to its end", async () => {
    const before = await scrape(server.url);
    await postStream(`${server.url}/stream`, { prompt: "x", num_inference_steps: 6 });
    const after = await scrape(server.url);
    const grown = (name: string): number => (after.get(name) ?? 0) - (before.get(name) ?? 0);
    expect({
      accepted: grown("latentcast_jobs_accepted_total"),
      succeeded: grown('latentcast_jobs_finished_total{outcome="succeeded",code="ok"}'),
      waits: grown("latentcast_queue_wait_seconds_count"),
      firstPreviews: grown("latentcast_first_preview_seconds_count"),
      steps: grown("latentcast_step_seconds_count"),
      previews: grown("latentcast_preview_seconds_count"),
      streams: grown('latentcast_http_request_seconds_count{method="POST",route="/stream",status="200"}'),
    }).toEqual({ accepted: 1, succeeded: 1, waits: 1, firstPreviews: 1, steps: 6, previews: 2, streams: 1 });
    // The fixture's step takes 20 ms.
    expect(grown("latentcast_step_seconds_sum")).toBeCloseTo(0.12, 5);
  });

  it("counts streams while they are open, jobs while they run, and device time that was cancelled", async () => {
    const leaving = new AbortController();
    const stream = await fetch(`${server.url}/stream`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ prompt: "x", num_inference_steps: 50 }),
      signal: leaving.signal,
    });
    const reader = stream.body!.getReader();
    await reader.read();
    await eventually(async () => {
      const during = await scrape(server.url);
      expect(during.get("latentcast_sse_clients")).toBe(1);
      expect(during.get("latentcast_jobs_in_flight")).toBe(1);
    });
    leaving.abort();
    await eventually(async () => {
      const after = await scrape(server.url);
      expect(after.get("latentcast_sse_clients")).toBe(0);
      expect(after.get("latentcast_jobs_in_flight")).toBe(0);
      expect(after.get('latentcast_jobs_finished_total{outcome="cancelled",code="client_gone"}')).toBe(1);
      expect(after.get("latentcast_cancelled_device_seconds_total")).toBeGreaterThan(0);
    });
  });

  it("names every worker's device and state, and counts restarts and failures", async () => {
    const label = (slot: number): string =>
      `latentcast_worker_info{slot="${slot}",device="cpu",device_name="fixture",dtype="float32",model="fixture"}`;
    const calm = await scrape(server.url);
    expect([calm.get(label(0)), calm.get(label(1)), calm.get("latentcast_ready")]).toEqual([1, 1, 1]);
    expect(calm.get("latentcast_worker_restarts_total")).toBe(0);

    const crashed = await post(server.url, { prompt: "crash always", num_inference_steps: 5 });
    expect(crashed.status).toBe(503);
    await eventually(async () => {
      const after = await scrape(server.url);
      expect(after.get('latentcast_jobs_finished_total{outcome="failed",code="worker_crashed"}')).toBe(1);
      expect(after.get("latentcast_worker_restarts_total")).toBe(2);
      expect(after.get('latentcast_worker_state{slot="0",state="ready"}')).toBe(1);
      expect(after.get('latentcast_worker_state{slot="0",state="backoff"}')).toBe(0);
    });
  });

  it("shows the memory that workers report", async () => {
    await eventually(async () =>
      expect((await scrape(server.url)).get('latentcast_worker_resident_bytes{slot="1"}')).toBe(1),
    );
  });

  it("does not grow with paths and ids that clients choose", async () => {
    for (const path of ["/a/b/c/d", "/a/b/c/e", "/a/b/c/f"]) await fetch(server.url + path);
    const names = [...(await scrape(server.url)).keys()].filter((name) => name.includes("/a/b/c"));
    expect(names).toEqual([]);
  });
});

describe("deploy/", () => {
  it("uses only metrics that exist", async () => {
    await using server = await startTestServer({ worker: "fixture_worker" });
    const exposed = await (await fetch(`${server.url}/metrics`)).text();
    const files = [
      ...["grafana/latentcast.json", "prometheus/rules.yaml"],
      ...["kubernetes/autoscaler.yaml", "kubernetes-cluster/gateway/autoscaler.yaml"],
      "kubernetes-cluster/pools/default/scaler.yaml",
    ];
    for (const file of files) {
      const asked =
        (await readFile(new URL(`../../deploy/${file}`, import.meta.url), "utf8")).match(/latentcast_[a-z_]+/g) ?? [];
      expect(asked.length).toBeGreaterThan(0);
      for (const name of asked) expect(exposed).toContain(`# TYPE ${name.replace(/_(bucket|sum|count)$/, "")} `);
    }
  });
});
