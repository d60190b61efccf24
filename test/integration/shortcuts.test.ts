/** What an operator switches on by name reaches the worker, and everybody can see it. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { startTestServer, type TestServer } from "../support/server.ts";
import { post } from "../support/sse.ts";

let server: TestServer;
beforeAll(async () => {
  server = await startTestServer({ env: { LATENTCAST_SHORTCUTS: "few-step, cfg-cutoff" } });
  await server.ready();
}, 120_000);
afterAll(() => server.close());

const healthOf = async ({ url }: TestServer): Promise<unknown> => (await fetch(`${url}/health`)).json();
const pictureOf = async (input: object): Promise<string> => {
  const answer = await post(server.url, { prompt: "a boat", seed: 5, width: 64, height: 64, ...input });
  return ((await answer.json()) as { image: { url: string } }).image.url;
};

describe("a server with shortcuts", () => {
  it("names them in /health, with the defaults that come with them", async () => {
    expect(await healthOf(server)).toMatchObject({
      shortcuts: ["few-step", "cfg-cutoff"],
      model: { default_steps: 4, default_guidance_scale: 0 },
    });
  });

  it("makes an image in few steps and without guidance, unless the request says otherwise", async () => {
    const byDefault = await pictureOf({});
    expect(await pictureOf({ num_inference_steps: 4, guidance_scale: 0 })).toBe(byDefault);
    expect(await pictureOf({ num_inference_steps: 4, guidance_scale: 5 })).not.toBe(byDefault);
    expect(await pictureOf({ num_inference_steps: 5 })).not.toBe(byDefault);
  });
});

describe("a server without", () => {
  it("says that there are none", async () => {
    await using plain = await startTestServer({ worker: "one_at_a_time" });
    expect(await healthOf(plain)).toMatchObject({ shortcuts: [] });
  });
});
