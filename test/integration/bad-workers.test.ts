import { mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it, vi } from "vitest";
import { eventually, isAlive } from "../support/eventually.ts";
import { slotFailures, startTestServer } from "../support/server.ts";
import { post, postStream } from "../support/sse.ts";

/** Short enough for a test, long enough for a fixture worker on a busy machine. */
const QUICK_WATCHDOG = { LATENTCAST_STALL_TIMEOUT_SECONDS: "1.5", LATENTCAST_START_TIMEOUT_SECONDS: "20" };

describe("misbehaving workers", () => {
  it("a worker that is never ready is replaced, and the error of its clients says that it is loading", async () => {
    await using server = await startTestServer({
      worker: "never_ready",
      env: { LATENTCAST_START_TIMEOUT_SECONDS: "1" },
    });
    expect((await fetch(`${server.url}/ready`)).status).toBe(503);
    await eventually(() => expect(server.jobs.snapshot().counters.restarts).toBeGreaterThan(0));
    const health = await (await fetch(`${server.url}/health`)).json();
    expect(health.workers[0].last_error).toMatch(
      /no progress for 1 s while loading .* LATENTCAST_START_TIMEOUT_SECONDS/,
    );
  });

  it("a worker that speaks another protocol leads to one error that names both versions", async () => {
    await using server = await startTestServer({ worker: "wrong_version" });
    await eventually(() => expect(server.jobs.snapshot().status).toBe("failed"));
    const health = await (await fetch(`${server.url}/health`)).json();
    // The one test of this text: it has to name both versions.
    expect(health).toMatchObject({ status: "failed", reason: expect.stringMatching(/protocol 999 and this server 2/) });
    const response = await post(server.url, { prompt: "x" });
    expect(response.status).toBe(503);
    expect(await response.json()).toMatchObject({ error_type: "worker_unavailable" });
    expect(Number(response.headers.get("retry-after"))).toBeGreaterThan(0);
  });

  it("a worker that sends garbage between its messages still does its job", async () => {
    await using server = await startTestServer({ worker: "garbage_frames" });
    const { events } = await postStream(`${server.url}/stream`, { prompt: "x", seed: 1 });
    expect(events.at(-1)).toMatchObject({ seed: 1, image: {} });
    expect(server.jobs.snapshot().counters.garbage).toBeGreaterThan(10);
  });

  it("a worker that crashes on every start makes the server fail after a while, and its waiting requests too", async () => {
    await using server = await startTestServer({ worker: "crash_on_start" });
    const response = await post(server.url, { prompt: "x" });
    expect(response.status).toBe(503);
    const health = await (await fetch(`${server.url}/health`)).json();
    expect(health).toMatchObject({
      status: "failed",
      reason: expect.stringContaining("cannot start: the fixture was made so"),
    });
    expect((await fetch(`${server.url}/ready`)).status).toBe(503);
  });

  it("a worker that dies in the middle of a job is replaced, and the job runs again with its seed", async () => {
    await using server = await startTestServer({ worker: "crash_mid_job" });
    const { events, broken } = await postStream(`${server.url}/stream`, {
      prompt: "crash once",
      seed: 99,
      preview: { every: 1 },
    });
    expect(broken).toBeUndefined();
    expect(events.at(-1)).toMatchObject({ seed: 99, image: {} });
    expect(server.jobs.snapshot().counters.restarts).toBe(1);
  });

  it("a worker that dies of one request twice fails that request only", async () => {
    await using server = await startTestServer({ worker: "crash_mid_job" });
    const [poison, ...others] = await Promise.all(
      ["crash always", "a", "b", "c"].map((prompt) => postStream(`${server.url}/stream`, { prompt, seed: 5 })),
    );
    expect(poison?.events.at(-1)).toMatchObject({ error_type: "worker_crashed" });
    expect(poison?.broken).toBeDefined();
    for (const other of others) expect(other.events.at(-1)).toMatchObject({ seed: 5, image: {} });
  });

  it("a worker that ignores SIGTERM and EOF is killed", async () => {
    const server = await startTestServer({ worker: "ignores_sigterm" });
    await server.ready();
    const { pid } = server.jobs.snapshot().workers[0]!;
    await server.close();
    expect(isAlive(pid!)).toBe(false);
  });

  it("a worker that starts a process of its own is killed together with it", async () => {
    const logs: string[] = [];
    const server = await startTestServer({ worker: "grandchild_holds_stdout", logs });
    await server.ready();
    const grandchild = await eventually(() => Number(/grandchild (\d+)/.exec(logs.join(""))![1]));
    expect(isAlive(grandchild)).toBe(true);
    await server.close();
    await eventually(() => expect(isAlive(grandchild)).toBe(false));
  });

  it("a worker that floods previews loses some of them, never the result", async () => {
    await using server = await startTestServer({ worker: "floods_previews" });
    const { events } = await postStream(`${server.url}/stream`, { prompt: "x", seed: 3, preview: { every: 1 } });
    expect(events.at(-1)).toMatchObject({ seed: 3, image: {} });
    expect(events.slice(0, -1).every((event) => "preview" in event)).toBe(true);
    expect(server.jobs.snapshot().counters.previews).toBe(1200);
    expect(server.jobs.snapshot().counters.previews_dropped).toBe(1200 - (events.length - 1));
  });

  it("a worker that ends jobs twice, and jobs that do not exist, ends each job once", async () => {
    await using server = await startTestServer({ worker: "two_endings" });
    const results = await Promise.all(
      [1, 2, 3].map((seed) => postStream(`${server.url}/stream`, { prompt: "x", seed })),
    );
    for (const [index, { events, broken }] of results.entries()) {
      expect(broken).toBeUndefined();
      expect(events.filter((event) => !("preview" in event))).toEqual([expect.objectContaining({ seed: index + 1 })]);
    }
    await eventually(() => expect(server.jobs.snapshot().counters.stale).toBe(12));
    expect(server.jobs.snapshot().counters).toMatchObject({ succeeded: 3, failed: 0 });
  });

  it.each(["stops_answering", "stuck_step"])(
    "a worker like %s is killed, and its job runs on its successor",
    async (worker) => {
      const logs: string[] = [];
      await using server = await startTestServer({ worker, env: QUICK_WATCHDOG, logs });
      const { events } = await postStream(`${server.url}/stream`, { prompt: "x", seed: 8, preview: { every: 1 } });
      expect(events.at(-1)).toMatchObject({ seed: 8, image: {} });
      expect(slotFailures(logs)).toEqual(["stalled"]);
    },
  );

  it.each(["out_of_memory", "numerical_error", "internal_error"])(
    "a worker that fails a job with %s breaks off the stream, and the details stay hidden",
    async (code) => {
      await using server = await startTestServer({ worker: "fails_after_preview" });
      const { events, broken, raw } = await postStream(`${server.url}/stream`, { prompt: code, preview: { every: 1 } });
      expect(events).toHaveLength(2);
      expect(events[1]).toMatchObject({ error_type: code, error: expect.any(String), detail: expect.any(String) });
      expect(broken).toBeInstanceOf(TypeError);
      expect(raw).not.toContain("/etc/passwd");
      const response = await post(server.url, { prompt: code });
      expect(response.status).toBe(code === "out_of_memory" ? 503 : 500);
      expect(response.headers.get("x-fal-error-type")).toBe(code);
      expect(await response.text()).not.toContain("/etc/passwd");
    },
  );
});

describe("closing", () => {
  it("leaves no socket directory and no worker behind", async () => {
    // A folder of its own: other programs, and other tests, make folders of such names too.
    const scratch = await mkdtemp(join(tmpdir(), "test-closing-"));
    vi.stubEnv("TMPDIR", scratch);
    try {
      const server = await startTestServer({ worker: "fixture_worker" });
      await server.ready();
      expect(await readdir(scratch)).not.toEqual([]);
      const { pid } = server.jobs.snapshot().workers[0]!;
      await server.close();
      expect(isAlive(pid!)).toBe(false);
      expect(await readdir(scratch)).toEqual([]);
    } finally {
      vi.unstubAllEnvs();
      await rm(scratch, { recursive: true, force: true });
    }
  });

  it("finishes accepted requests when it drains, and refuses new ones", async () => {
    const server = await startTestServer({ worker: "fixture_worker" });
    await server.ready();
    const running = postStream(`${server.url}/stream`, { prompt: "x", seed: 4, num_inference_steps: 20 });
    await eventually(() => expect(server.jobs.snapshot().queue.unfinished).toBe(1));
    const drained = server.drain();
    expect((await fetch(`${server.url}/ready`)).status).toBe(503);
    const refused = await post(server.url, { prompt: "y" });
    expect([refused.status, (await refused.json()).error_type]).toEqual([503, "draining"]);
    expect((await running).events.at(-1)).toMatchObject({ seed: 4, image: {} });
    await drained;
    await server.close();
  });
});
