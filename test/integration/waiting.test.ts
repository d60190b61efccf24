/** What waits is what has not begun to be drawn, also when a worker has it already. */
import { afterAll, beforeAll, expect, it } from "vitest";
import { eventually } from "../support/eventually.ts";
import { resultOf, statusOf, submit } from "../support/queue.ts";
import { startTestServer, type TestServer } from "../support/server.ts";
import { post } from "../support/sse.ts";

let server: TestServer;
beforeAll(async () => {
  server = await startTestServer({
    // Holds 64 jobs and draws them one after the other.
    worker: "fixture_worker",
    env: { LATENTCAST_WORKER_FIXTURE_STEP_SECONDS: "0.2", LATENTCAST_QUEUE_LIMIT: "12" },
  });
  await server.ready();
});
afterAll(() => server.close());

const long = { prompt: "x", num_inference_steps: 50, preview: false };

it("twelve requests behind one that runs have twelve positions, which fall as others begin", async () => {
  const first = await submit(server.url, long);
  await eventually(async () => expect(await statusOf(first)).toMatchObject({ status: "IN_PROGRESS" }));
  const replies = [];
  for (let n = 0; n < 12; n += 1) replies.push(await submit(server.url, long));
  expect(replies.map(({ queue_position: place }) => place)).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]);

  const metrics = await (await fetch(`${server.url}/metrics`)).text();
  expect(metrics).toContain("latentcast_queue_length 12");
  expect(await (await fetch(`${server.url}/health`)).json()).toMatchObject({ status: "busy", queue: { waiting: 12 } });
  expect((await post(`${server.url}/queue`, long)).status).toBe(429);
  expect((await post(`${server.url}/queue?fal_max_queue_length=5`, long)).status).toBe(429);

  const [second, third] = replies;
  await fetch(first.cancel_url, { method: "PUT" });
  await eventually(async () => expect(await statusOf(second!)).toMatchObject({ status: "IN_PROGRESS" }));
  expect(await statusOf(third!)).toMatchObject({ status: "IN_QUEUE", queue_position: 0 });
  for (const reply of replies) await fetch(reply.cancel_url, { method: "PUT" });
  for (const reply of replies) expect((await resultOf(reply)).status).toBe(499);
});

it("a normal request overtakes one of low priority that has not begun", async () => {
  const first = await submit(server.url, long);
  await eventually(async () => expect(await statusOf(first)).toMatchObject({ status: "IN_PROGRESS" }));
  const low = await submit(server.url, long, { headers: { "x-fal-queue-priority": "low" } });
  const normal = await submit(server.url, { ...long, num_inference_steps: 5 });
  expect([(await statusOf(normal)) as unknown, await statusOf(low)]).toMatchObject([
    { queue_position: 0 },
    { queue_position: 1 },
  ]);
  await fetch(first.cancel_url, { method: "PUT" });
  expect((await resultOf(normal)).status).toBe(200);
  await fetch(low.cancel_url, { method: "PUT" });
});
