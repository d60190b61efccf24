/** `webuiapi`, the Python client for A1111's web API, on a server with keys. What it gets of the demo model is in demo-model.test.ts. */
import { expect, it } from "vitest";
import { startTestServer } from "../support/server.ts";
import { Webuiapi } from "../support/webuiapi.ts";

it("webuiapi passes its password as the key, has batches and reads refusals, also of a wrong password", async () => {
  await using locked = await startTestServer({ worker: "fixture_worker", env: { LATENTCAST_API_KEYS: "secret" } });
  await locked.ready();
  await using client = new Webuiapi();
  const { batch, refused } = await client.see(locked, ["batch", "refused"], { PASSWORD: "secret" });
  expect(batch).toMatchObject({ info: { all_seeds: [7, 8, 9, 10], sampler_name: "DDIM" } });
  expect(batch.sizes).toHaveLength(4);
  expect(refused).toEqual([
    [422, expect.stringMatching(/^steps: /)],
    [422, expect.stringMatching(/^batch_size: /)],
  ]);
  const wrong = await client.see(locked, ["refused"], { PASSWORD: "wrong" });
  expect(wrong.refused).toEqual([401, 401].map((status) => [status, expect.stringContaining("API key")]));
});
