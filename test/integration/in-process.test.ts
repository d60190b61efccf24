import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import sharp from "sharp";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { createOrchestrator, LatentcastError, loadConfig, type InProcessOrchestrator } from "../../src/index.ts";
import { testPython } from "../support/server.ts";

let directory: string;
let orchestrator: InProcessOrchestrator;
beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "latentcast-test-"));
  const config = loadConfig({
    env: {
      LATENTCAST_MODEL: "noise",
      LATENTCAST_DEVICES: "cpu",
      LATENTCAST_PYTHON: testPython(),
      LATENTCAST_CACHE_DIR: directory,
      LATENTCAST_DATA_DIR: directory,
    },
  });
  orchestrator = await createOrchestrator({ config });
  await orchestrator.ready();
}, 120_000);
afterAll(async () => {
  await orchestrator.close();
  await rm(directory, { recursive: true, force: true });
});

const small = { prompt: "a boat", seed: 5, width: 64, height: 96, num_inference_steps: 3 };
/** Some seconds. */
const LONG = { width: 256, height: 256, num_inference_steps: 50 };

describe("the orchestrator in this process", () => {
  it("makes the image that was asked for", async () => {
    const result = await orchestrator.generate({ ...small, output_format: "png" });
    expect(result).toMatchObject({ seed: 5, prompt: "a boat", warnings: [] });
    expect(await sharp(result.image.bytes).metadata()).toMatchObject({ format: "png", width: 64, height: 96 });
  });

  it("streams previews, then has the result", async () => {
    const stream = orchestrator.stream({ ...small, preview: { every: 1 } });
    const steps: number[] = [];
    for await (const event of stream) {
      if (event.kind !== "preview") continue;
      steps.push(event.step);
      expect(await sharp(event.image.bytes).metadata()).toMatchObject({ format: "jpeg", width: 64, height: 96 });
    }
    expect(steps).toEqual([0, 1, 2]);
    expect((await stream.result()).image).toMatchObject({ width: 64, height: 96, seed: 5 });
  });

  it("gives the same bytes for the same seed, with or without previews, and others for another seed", async () => {
    const bytes = async (seed: number, preview: false | object): Promise<Buffer> => {
      const { image } = await orchestrator.generate({ ...small, seed, preview, output_format: "png" });
      return sharp(image.bytes).raw().toBuffer();
    };
    const [watched, unwatched, other] = [await bytes(1, { every: 1 }), await bytes(1, false), await bytes(2, false)];
    expect(watched.equals(unwatched)).toBe(true);
    expect(watched.equals(other)).toBe(false);
  });

  it("refuses bad input with the fields that are wrong", async () => {
    const wrong = orchestrator.generate({ prompt: "x", width: 12 });
    await expect(wrong).rejects.toBeInstanceOf(LatentcastError);
    await expect(wrong).rejects.toMatchObject({ code: "invalid_request", status: 422 });
  });

  it("stops when the loop is left or the signal fires", async () => {
    const stream = orchestrator.stream({ ...small, ...LONG, preview: { every: 1 } });
    for await (const event of stream) if (event.kind === "preview") break;
    await expect(stream.result()).rejects.toMatchObject({ code: "cancelled" });

    const abort = new AbortController();
    const running = orchestrator.generate({ ...small, ...LONG }, { signal: abort.signal });
    abort.abort();
    await expect(running).rejects.toMatchObject({ code: "cancelled" });
  });

  it("can be read once", async () => {
    const stream = orchestrator.stream(small);
    for await (const _event of stream) break;
    await expect(stream[Symbol.asyncIterator]().next()).rejects.toThrow("once");
  });
});
