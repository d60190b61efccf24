/** `webuiapi`, the Python client for A1111's web API, as it comes from PyPI, with the real worker and the demo model. */
import { execFile } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import type { Info } from "../support/a1111.ts";
import { startTestServer, testPython, type TestServer } from "../support/server.ts";
import { postStream } from "../support/sse.ts";

/** Loading torch takes 8 s on an idle machine and ten times that on a crowded one. */
vi.setConfig({ testTimeout: 240_000, hookTimeout: 240_000 });

const checks = fileURLToPath(new URL("../fixtures/webuiapi_checks.py", import.meta.url));

interface Told {
  readonly sizes: readonly number[][];
  readonly formats: readonly string[];
  readonly images: readonly string[];
  readonly info: Info;
  readonly parameters: object;
}

/** Left and right. */
type Corners = readonly [readonly number[], readonly number[]];

interface Observed {
  readonly txt2img: Told;
  readonly batch: Told;
  readonly img2img: { readonly whole: Told; readonly masked: Corners; readonly inverted: Corners };
  readonly lists: Readonly<Record<string, unknown>>;
  readonly model: Readonly<Record<"name" | "before" | "after", string>>;
  readonly progress: {
    readonly interrupt: unknown;
    readonly skip: unknown;
    readonly shown: unknown;
    readonly progress: readonly [number, number];
    readonly interrupted: Told;
  };
  readonly refused: unknown;
}

/** What `webuiapi_checks.py` saw, by check. One process for several: it takes a second to start. */
async function observe(
  { url }: TestServer,
  names: readonly (keyof Observed)[],
  env: Readonly<Record<string, string>> = {},
): Promise<Observed> {
  const { stdout } = await promisify(execFile)(testPython(), [checks, ...names], {
    env: { PATH: process.env["PATH"], LATENTCAST_URL: url, ...env },
    maxBuffer: 2 ** 26,
  });
  // The script prints what the interface says, for the checks that were asked.
  return JSON.parse(stdout) as Observed;
}

describe("with the demo model", () => {
  let server: TestServer;
  let cache: string;
  beforeAll(async () => {
    cache = await mkdtemp(join(tmpdir(), "latentcast-cache-"));
    const env = { LATENTCAST_MODEL: "demo", LATENTCAST_CACHE_DIR: cache, LATENTCAST_WORKER_THREADS: "1" };
    // Exact mode: what else runs changes no byte.
    server = await startTestServer({ env: { ...env, LATENTCAST_MAX_BATCH: "1" } });
    await server.ready();
  });
  afterAll(async () => {
    await server.close();
    await rm(cache, { recursive: true, force: true });
  });

  it("makes the same PNG for a seed as `/stream`, byte for byte", async () => {
    const { txt2img: seen } = await observe(server, ["txt2img"]);
    expect(seen).toMatchObject({ sizes: [[256, 256]], formats: ["PNG"], parameters: { steps: 3, seed: 8 } });
    expect(seen.info).toMatchObject({ seed: 8, sampler_name: "Euler a", sd_model_name: "demo", warnings: [] });
    const { events } = await postStream(`${server.url}/stream`, {
      ...{ prompt: "a beautiful sunset", negative_prompt: "fog", seed: 8, num_inference_steps: 3, guidance_scale: 4 },
      ...{ width: 256, height: 256, scheduler: "euler_a", output_format: "png" },
    });
    expect(events.at(-1)).toMatchObject({ image: { url: `data:image/png;base64,${seen.images[0]}` } });
  });

  it("starts from an image, and changes it where the mask says", async () => {
    const { img2img: seen } = await observe(server, ["img2img"]);
    expect(seen.whole).toMatchObject({ sizes: [[256, 256]], parameters: { denoising_strength: 0.5 } });
    const [red, blue] = [
      [255, 0, 0],
      [0, 0, 255],
    ];
    expect(seen.masked[0]).toEqual(red);
    expect(seen.masked[1]).not.toEqual(blue);
    expect(seen.inverted[0]).not.toEqual(red);
    expect(seen.inverted[1]).toEqual(blue);
  });

  it("sees the image form, interrupts it and has it so far", async () => {
    const { progress: seen } = await observe(server, ["progress"]);
    expect(seen).toMatchObject({ interrupt: {}, skip: null, shown: ["JPEG", [256, 256]] });
    expect(seen.progress[0]).toBeGreaterThan(0);
    expect(seen.progress[1]).toBeGreaterThan(seen.progress[0]);
    expect(seen.interrupted).toMatchObject({ sizes: [[256, 256]], formats: ["PNG"] });
    expect(seen.interrupted.info.warnings).toEqual([expect.stringMatching(/^interrupted after step \d+ of 50$/)]);
  });

  it("finds the model, chooses it by its title and by what is close to it, and reads every list", async () => {
    const { model, lists } = await observe(server, ["model", "lists"]);
    expect(model).toEqual({ name: "demo [sdxl]", before: "demo [sdxl]", after: "demo [sdxl]" });
    const { samplers, scripts, refreshed, ...others } = lists;
    expect(samplers).toContainEqual({ name: "Euler a", aliases: expect.any(Array), options: {} });
    expect([scripts, refreshed]).toEqual([{ txt2img: [], img2img: [] }, null]);
    for (const list of Object.values(others)) expect(list).toBeTypeOf("object");
  });
});

describe("with keys", () => {
  it("passes its password as the key, has batches and reads refusals, also of a wrong password", async () => {
    await using locked = await startTestServer({ worker: "fixture_worker", env: { LATENTCAST_API_KEYS: "secret" } });
    await locked.ready();
    const { batch, refused } = await observe(locked, ["batch", "refused"], { PASSWORD: "secret" });
    expect(batch).toMatchObject({ info: { all_seeds: [7, 8, 9, 10], sampler_name: "DDIM" } });
    expect(batch.sizes).toHaveLength(4);
    expect(refused).toEqual([
      [422, expect.stringMatching(/^steps: /)],
      [422, expect.stringMatching(/^batch_size: /)],
    ]);
    const wrong = await observe(locked, ["refused"], { PASSWORD: "wrong" });
    expect(wrong.refused).toEqual([401, 401].map((status) => [status, expect.stringContaining("API key")]));
  });
});
