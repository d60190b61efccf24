import fc from "fast-check";
import { expect, it } from "vitest";
import { eventually } from "../support/eventually.ts";
import { startTestServer } from "../support/server.ts";
import { post, postStream } from "../support/sse.ts";

const CROWD = 32;
/** Ten seconds: as long as anybody looks at what waits behind it. It is left before its end. */
const LONG = { prompt: "slow", num_inference_steps: 50 };

it("32 streams, half of which leave at random moments: no hang, no leaked job, the others get their own images", async () => {
  await using server = await startTestServer({ worker: "fixture_worker" });
  await server.ready();
  const [delays] = fc.sample(fc.array(fc.integer({ min: 0, max: 1_500 }), { minLength: CROWD, maxLength: CROWD }), {
    numRuns: 1,
    seed: 7,
  });
  const outcomes = await Promise.all(
    Array.from({ length: CROWD }, async (_, seed) => {
      const input = { prompt: `job ${seed}`, seed, num_inference_steps: 4, preview: { every: 1 } };
      if (seed % 2 === 1) return postStream(`${server.url}/stream`, input);
      const leave = new AbortController();
      setTimeout(() => leave.abort(), delays?.[seed] ?? 0);
      return post(`${server.url}/stream`, input, { signal: leave.signal }).then(
        (response) => response.text().catch(() => "left"),
        () => "left",
      );
    }),
  );
  for (const [seed, outcome] of outcomes.entries()) {
    if (seed % 2 === 0) continue;
    expect(outcome).toMatchObject({ broken: undefined });
    if (typeof outcome === "string") throw new Error("a stream that stayed is no string");
    expect(outcome.events.at(-1)).toMatchObject({ seed, prompt: `job ${seed}`, image: {} });
  }
  await eventually(() => expect(server.jobs.snapshot().queue.unfinished).toBe(0));
  await eventually(() => expect(server.jobs.snapshot().workers[0]!.jobs).toBe(0));
  const { accepted, succeeded, cancelled, failed } = server.jobs.snapshot().counters;
  expect(failed).toBe(0);
  expect(succeeded + cancelled).toBe(accepted);
  expect(succeeded).toBeGreaterThanOrEqual(CROWD / 2);
});

it("a full queue answers 429 with the time to wait, and accepts jobs again when it has room", async () => {
  await using server = await startTestServer({ worker: "one_at_a_time", env: { LATENTCAST_QUEUE_LIMIT: "2" } });
  await server.ready();
  const input = { prompt: "x" };
  const leave = new AbortController();
  const first = await post(`${server.url}/stream`, LONG, { signal: leave.signal });
  // Until the worker has taken the first, it counts as one that waits.
  await eventually(() => expect(server.jobs.snapshot().queue).toMatchObject({ unfinished: 1, waiting: 0 }));
  const waiting = [postStream(`${server.url}/stream`, input), postStream(`${server.url}/stream`, input)];
  await eventually(() => expect(server.jobs.snapshot().queue.waiting).toBe(2));
  const refused = await post(server.url, input);
  expect(refused.status).toBe(429);
  expect((await refused.json()).error_type).toBe("queue_full");
  expect(Number(refused.headers.get("retry-after"))).toBeGreaterThanOrEqual(1);
  leave.abort();
  await expect(first.text()).rejects.toThrow("abort");
  for (const { events } of await Promise.all(waiting)) expect(events.at(-1)).toHaveProperty("image");
  expect((await post(server.url, input)).status).toBe(200);
});

it("a job that waits gets its position in the queue and an estimate of its start", async () => {
  await using server = await startTestServer({ worker: "one_at_a_time" });
  await server.ready();
  const input = { prompt: "x" };
  const leave = new AbortController();
  const first = await post(`${server.url}/stream`, LONG, { signal: leave.signal });
  await eventually(() => expect(server.jobs.snapshot().workers[0]!.jobs).toBe(1));
  const second = postStream(`${server.url}/stream`, input);
  await eventually(() => expect(server.jobs.snapshot().queue.waiting).toBe(1));
  const { generateInput } = await import("../../src/schema/input.ts");
  const job = server.jobs.submit({ input: generateInput.parse(input) });
  const heard: unknown[] = [];
  for await (const { event } of job.follow()) {
    if (event.kind === "queued") heard.push(event);
    leave.abort();
    if (event.kind === "started") break;
  }
  expect(heard.at(0)).toEqual({ kind: "queued", position: 1, estimateMs: expect.any(Number) });
  expect(heard.at(-1)).toMatchObject({ position: 0 });
  await expect(first.text()).rejects.toThrow("abort");
  await second;
});
