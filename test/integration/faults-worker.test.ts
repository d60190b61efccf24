/** What happens to workers from outside: each with the real worker where that can be, and the client's view of it. */
import { cp, mkdtemp, readdir, rm, truncate, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { eventually, isAlive } from "../support/eventually.ts";
import { slotFailures, startTestServer, type TestServer } from "../support/server.ts";
import { post, postStream } from "../support/sse.ts";

const SMALL = { width: 64, height: 64 };

/** Kept over all servers of this file: the noise model is made once. */
let cache: string;
beforeAll(async () => {
  cache = await mkdtemp(join(tmpdir(), "latentcast-cache-"));
});
afterAll(() => rm(cache, { recursive: true, force: true }));

function pidOf(server: TestServer): number {
  const pid = server.jobs.snapshot().workers[0]?.pid;
  if (pid === undefined || pid === null) throw new Error("no worker process");
  return pid;
}

async function readiness(server: TestServer): Promise<number> {
  return (await fetch(`${server.url}/ready`)).status;
}

/** Loading torch and warming up takes 8 s on an idle machine and ten times that on a crowded one. */
const LOAD_TIMEOUT_MS = 240_000;
// Threads of one process that wait for each other lose all their time to the others on a crowded machine.
const ONE_THREAD = { LATENTCAST_WORKER_THREADS: "1" };
vi.setConfig({ testTimeout: 2 * LOAD_TIMEOUT_MS });

describe("the real worker", () => {
  let server: TestServer;
  beforeAll(async () => {
    server = await startTestServer({ worker: "sick_device", env: { LATENTCAST_CACHE_DIR: cache, ...ONE_THREAD } });
  });
  afterAll(() => server.close());

  it("killed while it loads is started again, and /ready stays 503 until it is ready", async () => {
    await eventually(() => {
      const { state, loading } = server.jobs.snapshot().workers[0]!;
      expect([state, loading?.stage]).toEqual(["starting", expect.not.stringMatching("spawn")]);
    }, LOAD_TIMEOUT_MS);
    expect(await readiness(server)).toBe(503);
    process.kill(pidOf(server), "SIGKILL");
    await eventually(() => expect(server.jobs.snapshot().counters.restarts).toBe(1));
    await eventually(async () => expect(await readiness(server)).toBe(200), LOAD_TIMEOUT_MS);
    expect((await post(server.url, { prompt: "x", num_inference_steps: 2, ...SMALL })).status).toBe(200);
  });

  it.each([
    ["out of memory", 503, "out_of_memory"],
    ["not a number", 500, "numerical_error"],
  ])("on a device that is %s fails that request only, says so, and lives on", async (prompt, status, code) => {
    const pid = pidOf(server);
    const answer = await post(server.url, { prompt, num_inference_steps: 2, ...SMALL });
    expect(answer.status).toBe(status);
    const text = await answer.text();
    expect(JSON.parse(text)).toMatchObject({ error_type: code });
    expect(text).not.toContain("/secret");
    const { events, broken } = await postStream(`${server.url}/stream`, { prompt, num_inference_steps: 2, ...SMALL });
    expect(events.at(-1)).toMatchObject({ error_type: code, error: expect.any(String) });
    expect(broken).toBeDefined();
    expect((await post(server.url, { prompt: "x", num_inference_steps: 2, ...SMALL })).status).toBe(200);
    expect(pidOf(server)).toBe(pid);
  });

  it("killed in the middle of a step is replaced, and the client gets the same image", async () => {
    const input = { prompt: "x", seed: 11, num_inference_steps: 40, output_format: "png", ...SMALL };
    const undisturbed = (await (await post(server.url, input)).json()).image.url;
    const stream = postStream(`${server.url}/stream`, { ...input, preview: { every: 1 } });
    await eventually(() => expect(server.jobs.snapshot().workers[0]!.jobs).toBe(1));
    const killed = pidOf(server);
    process.kill(killed, "SIGKILL");
    await eventually(async () => expect(await readiness(server)).toBe(503));
    const { events, broken } = await stream;
    expect(broken).toBeUndefined();
    expect(events.at(-1)).toMatchObject({ seed: 11, image: { url: undisturbed } });
    expect(pidOf(server)).not.toBe(killed);
    expect(server.jobs.snapshot().queue.unfinished).toBe(0);
  });
});

describe("a worker that is stopped with SIGSTOP", () => {
  it("is replaced, and the client gets its image", async () => {
    const logs: string[] = [];
    await using server = await startTestServer({
      worker: "fixture_worker",
      env: { LATENTCAST_STALL_TIMEOUT_SECONDS: "2", LATENTCAST_WORKER_FIXTURE_STEP_SECONDS: "0.05" },
      logs,
    });
    await server.ready();
    const stopped = pidOf(server);
    const stream = postStream(`${server.url}/stream`, { prompt: "x", num_inference_steps: 50 });
    await eventually(() => expect(server.jobs.snapshot().workers[0]!.jobs).toBe(1));
    process.kill(stopped, "SIGSTOP");
    const { events, broken } = await stream;
    expect(broken).toBeUndefined();
    expect(events.at(-1)).toMatchObject({ prompt: "x", image: {} });
    await eventually(() => expect(isAlive(stopped)).toBe(false));
    expect(slotFailures(logs)).toEqual(["stalled"]);
  });
});

describe("a worker that dies with its result on the way", () => {
  it("loses no image: it has arrived, or it is made again", async () => {
    await using server = await startTestServer({ worker: "dies_with_result" });
    const { events, broken } = await postStream(`${server.url}/stream`, {
      prompt: "x",
      seed: 5,
      num_inference_steps: 3,
    });
    expect(broken).toBeUndefined();
    expect(events.filter((event) => "prompt" in event)).toHaveLength(1);
    expect(events.at(-1)).toMatchObject({ seed: 5, image: {} });
    await eventually(() => expect(server.jobs.snapshot().counters.restarts).toBe(1));
    expect((await post(server.url, { prompt: "x", num_inference_steps: 1 })).status).toBe(200);
  });
});

describe("a model that cannot be loaded", () => {
  async function reasonFor(model: string): Promise<string> {
    await using server = await startTestServer({
      env: { LATENTCAST_MODEL: model, LATENTCAST_CACHE_DIR: cache, ...ONE_THREAD },
    });
    await eventually(() => expect(server.jobs.snapshot().status).toBe("failed"), LOAD_TIMEOUT_MS);
    const refused = await post(server.url, { prompt: "x" });
    expect([refused.status, await readiness(server)]).toEqual([503, 503]);
    const text = await refused.text();
    expect(JSON.parse(text)).toMatchObject({ error_type: "worker_unavailable" });
    expect(text).not.toContain(cache);
    const health = await fetch(`${server.url}/health`);
    expect(health.status).toBe(200);
    return (await health.json()).reason;
  }

  it("because its folder is missing fails at once, with its name for operators and not for clients", async () => {
    expect(await reasonFor(join(cache, "nowhere"))).toContain("nowhere");
  });

  it("because its weights are cut short fails at once", async () => {
    const made = (await readdir(cache)).find((name) => name.startsWith("tiny-sdxl-"));
    const cut = join(cache, "cut");
    await cp(join(cache, made!), cut, { recursive: true });
    const weights = (await readdir(join(cut, "unet"))).find((name) => name.endsWith(".safetensors"));
    await truncate(join(cut, "unet", weights!), 1_000);
    expect(await reasonFor(cut)).toMatch(/cut/);
  });

  it("because it is a file of another kind is refused with the name of that kind", async () => {
    const header = JSON.stringify({
      "lora_unet_mid_block.lora_down.weight": { dtype: "F16", shape: [0], data_offsets: [0, 0] },
    });
    const length = Buffer.alloc(8);
    length.writeBigUInt64LE(BigInt(header.length));
    const file = join(cache, "style.safetensors");
    await writeFile(file, Buffer.concat([length, Buffer.from(header)]));
    expect(await reasonFor(file)).toMatch(/style\.safetensors is a LoRA/);
  });
});
