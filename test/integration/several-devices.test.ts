/** One worker per device, with several CPU workers in the place of several cards. */
import { readFileSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { eventually } from "../support/eventually.ts";
import { startTestServer, type TestServer } from "../support/server.ts";
import { post } from "../support/sse.ts";

let server: TestServer;
beforeAll(async () => {
  server = await startTestServer({ env: { LATENTCAST_DEVICES: "cpu,cpu", LATENTCAST_MAX_BATCH: "1" } });
  await server.ready();
  await eventually(
    () => expect(server.jobs.snapshot().workers.every(({ state }) => state === "ready")).toBe(true),
    60_000,
  );
}, 120_000);
afterAll(() => server.close());

const picture = { prompt: "a boat", seed: 5, width: 64, height: 64, num_inference_steps: 12, output_format: "png" };

describe("two workers on the CPU", () => {
  it("compute on cores of their own", ({ skip }) => {
    if (process.platform !== "linux") skip("needs Linux");
    const cores = server.jobs.snapshot().workers.map(({ pid }) => coresOf(pid));
    const all = coresOf(process.pid);
    // With a single core there is nothing to divide.
    const wanted = all.length < 2 ? [all, all] : [all.slice(0, all.length >> 1), all.slice(all.length >> 1)];
    expect(cores).toEqual(wanted);
  });

  it("are both in /health", async () => {
    const { workers } = (await (await fetch(`${server.url}/health`)).json()) as { workers: { device: object }[] };
    expect(workers).toHaveLength(2);
    for (const { device } of workers) expect(device).toMatchObject({ id: "cpu" });
  });

  it("share requests that come together, and make the same image from the same seed", async () => {
    const before = iterationsOf(server);
    const answers = await Promise.all(Array.from({ length: 4 }, () => post(server.url, picture)));
    const pictures = await Promise.all(
      answers.map(async (answer) => ((await answer.json()) as { image: { url: string } }).image.url),
    );
    expect(new Set(pictures).size).toBe(1);
    await eventually(() => {
      for (const [slot, iterations] of iterationsOf(server).entries())
        expect(iterations).toBeGreaterThan(before[slot] ?? 0);
    });
  });
});

/** Steps that each worker says it has made. */
function iterationsOf({ jobs }: TestServer): number[] {
  return jobs.snapshot().workers.map(({ vitals }) => vitals?.iterations ?? 0);
}

function coresOf(pid: number | null): number[] {
  const list = /Cpus_allowed_list:\s+(\S+)/.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1] ?? "";
  return list.split(",").flatMap((range) => {
    const [first = Number.NaN, last = first] = range.split("-").map(Number);
    return Array.from({ length: last - first + 1 }, (_, offset) => first + offset);
  });
}
