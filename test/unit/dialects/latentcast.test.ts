import { describe, expect, it } from "vitest";
import { latentcastDialect } from "../../../src/dialects/latentcast/dialect.ts";
import type { JobResult } from "../../../src/jobs/events.ts";
import { job, modelInfo } from "../../support/builders.ts";

const { parse, fit, preview, result } = latentcastDialect;
const image = { bytes: Buffer.from("jpeg"), contentType: "image/jpeg", width: 8, height: 8, seed: 1 };
const served = { url: "http://x/files/a", content_type: "image/jpeg", width: 8, height: 8 };
const finished: JobResult = {
  images: [image],
  seed: 1,
  prompt: "x",
  timings: { queueMs: 12.34567, inferenceMs: 1_000, firstPreviewMs: null },
  warnings: ["w"],
};

describe("our own dialect", () => {
  it("has one image as `image` and several as `images`, in results and previews", () => {
    expect(result(finished, job(), [served])).toMatchObject({ image: served, seed: 1, prompt: "x", warnings: ["w"] });
    expect(result(finished, job(), [served, served])).toMatchObject({ images: [served, served] });
    const event = { kind: "preview" as const, step: 4, totalSteps: 20 };
    expect(preview({ ...event, images: [image] }, job())).toMatchObject({ image: { width: 8 } });
    expect(preview({ ...event, images: [image, image] }, job())).toMatchObject({ images: [{}, {}] });
  });

  it("counts steps from 0, and progress by the steps that are done", () => {
    expect(preview({ kind: "preview", step: 4, totalSteps: 20, images: [image] }, job())).toMatchObject({
      preview: { step: 4, total_steps: 20, progress: 0.25 },
    });
  });

  it("gives times in seconds, to the tenth of a millisecond", () => {
    expect(result(finished, job(), [served])).toMatchObject({
      timings: { queue: 0.0123, inference: 1, first_preview: null },
    });
  });

  it("never changes a size that was asked for", () => {
    const parsed = parse({ prompt: "x", width: 2_048, height: 64 }, "/");
    const { input } = parsed.ok ? parsed : expect.unreachable("it was refused");
    expect(fit(input, modelInfo({ max_side: 512 }))).toEqual({ input, warnings: [] });
  });
});
