import { describe, expect, it } from "vitest";
import { progressOf, taskProgressOf } from "../../../../src/dialects/a1111/progress.ts";
import type { JobPreview } from "../../../../src/jobs/events.ts";
import { Base64 } from "../../../../src/schema/base64.ts";
import { job, pendingJob } from "../../../support/builders.ts";

const preview = (step: number): JobPreview => ({
  kind: "preview",
  step,
  totalSteps: 4,
  images: [1, 2].map((byte) => ({
    bytes: Buffer.of(byte, step),
    contentType: "image/jpeg",
    width: 1,
    height: 1,
    seed: 1,
  })),
});

function running(step?: number) {
  const subject = job();
  subject.start(1_000, 4);
  if (step !== undefined) {
    subject.progress(step);
    subject.preview(preview(step), 1_500);
  }
  return subject;
}

describe("the progress", () => {
  it("of nothing is 0 and counts no job", () => {
    expect(progressOf(undefined, 0)).toMatchObject({ progress: 0, eta_relative: 0, current_image: null });
    expect(progressOf(undefined, 0).state).toMatchObject({ job_count: 0, job: "" });
  });

  it.each([
    ["waits for a model", pendingJob],
    ["waits for a worker", job],
    ["has begun", running],
  ])("of a request that %s is not 0, without an image", (_name, make) => {
    expect(progressOf(make(), 2_000)).toMatchObject({ progress: 0.01, current_image: null, state: { job_count: 1 } });
  });

  it("rises with the steps to 1, and shows the newest preview of the first image", () => {
    const seen = [0, 1, 3].map((step) => progressOf(running(step), 2_000));
    expect(seen.map(({ progress }) => progress)).toEqual([0.26, 0.51, 1]);
    expect(seen.map(({ current_image }) => current_image)).toEqual(
      [0, 1, 3].map((step) => new Base64(Buffer.of(1, step))),
    );
    expect(seen[1]).toMatchObject({ state: { sampling_step: 2, sampling_steps: 4, job_no: 0 } });
    expect(seen[1]?.eta_relative).toBeCloseTo(1 / 0.51 - 1);
  });

  it("leaves out the image for whoever does not want it", () => {
    expect(progressOf(running(1), 2_000, { skipsImage: true })).toMatchObject({ progress: 0.51, current_image: null });
  });
});

describe("the progress by name", () => {
  const asked = { id_task: "t", id_live_preview: -1, live_preview: true };

  it("differs for waiting, running, ended and unknown requests", () => {
    const flags = (...[subject, hasEnded]: [Parameters<typeof taskProgressOf>[0], boolean]) => {
      const { active, queued, completed } = taskProgressOf(subject, hasEnded, asked, 0);
      return { active, queued, completed };
    };
    expect(flags(job(), false)).toEqual({ active: false, queued: true, completed: false });
    expect(flags(running(), false)).toEqual({ active: true, queued: false, completed: false });
    expect(flags(undefined, true)).toEqual({ active: false, queued: false, completed: true });
    expect(flags(undefined, false)).toEqual({ active: false, queued: false, completed: false });
  });

  it("sends a preview once, as a data URI", () => {
    const subject = running(1);
    const first = taskProgressOf(subject, false, asked, 2_000);
    expect(first).toMatchObject({ id_live_preview: 1, live_preview: { prefix: "data:image/jpeg;base64," } });
    const again = taskProgressOf(subject, false, { ...asked, id_live_preview: 1 }, 2_000);
    expect(again).toMatchObject({ id_live_preview: 1, live_preview: null, progress: 0.51 });
    const unwanted = taskProgressOf(subject, false, { ...asked, live_preview: false }, 2_000);
    expect(unwanted).toMatchObject({ id_live_preview: -1, live_preview: null });
  });
});
