/** A device that is slow for the work it is given: what takes long is not what hangs. */
import { expect, it } from "vitest";
import { startTestServer } from "../support/server.ts";
import { post } from "../support/sse.ts";

it("a worker whose steps, prompts and decodes take longer than the stall timeout is left to finish them", async () => {
  await using server = await startTestServer({
    env: {
      LATENTCAST_MODEL: "demo",
      LATENTCAST_STALL_TIMEOUT_SECONDS: "0.2",
      // Threads of one process that wait for each other lose all their time to the others on a crowded machine.
      LATENTCAST_WORKER_THREADS: "1",
    },
  });
  await server.jobs.modelLoaded();
  const answer = await post(server.url, {
    prompt: "x",
    width: 512,
    height: 512,
    num_images: 2,
    num_inference_steps: 2,
  });
  expect(answer.status).toBe(200);
  expect(server.jobs.snapshot()).toMatchObject({ counters: { restarts: 0 }, workers: [{ last_error: null }] });
}, 240_000);
