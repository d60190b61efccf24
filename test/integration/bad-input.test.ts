import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { startTestServer, type TestServer } from "../support/server.ts";
import { post } from "../support/sse.ts";

const logs: string[] = [];
let server: TestServer;
beforeAll(async () => {
  server = await startTestServer({
    worker: "fixture_worker",
    logs,
    env: { LATENTCAST_BODY_LIMIT_BYTES: "2000000", LATENTCAST_MAX_PIXELS: "300000" },
  });
  await server.ready();
});
afterAll(async () => {
  await server.close();
});

async function refused(body: unknown, path = "/stream"): Promise<{ status: number; fields: string[] }> {
  const response = await post(`${server.url}${path}`, body);
  expect(response.headers.get("content-type")).toContain("application/json");
  expect(response.headers.get("x-fal-request-id")).toBeTruthy();
  const json = await response.json();
  expect(json).toMatchObject({ message: expect.any(String), error_type: expect.any(String) });
  const fields = Array.isArray(json.detail) ? json.detail.map(({ loc }: { loc: string[] }) => loc.join(".")) : [];
  return { status: response.status, fields };
}

async function sendRaw(body: BodyInit | null, headers: Record<string, string>): Promise<Response> {
  return fetch(server.url, { method: "POST", body, headers });
}

describe("a field past its limits is a 422 that names it", () => {
  it.each<[string, unknown]>([
    ["prompt", { prompt: "" }],
    ["prompt", {}],
    ["prompt", { prompt: 5 }],
    ["prompt", { prompt: null }],
    ["prompt", { prompt: "x".repeat(5_001) }],
    ["prompt", { prompt: "a\0b" }],
    ["prompt", { prompt: "lone \ud800 surrogate" }],
    ["negative_prompt", { prompt: "x", negative_prompt: "x".repeat(5_001) }],
    ["negative_prompt", { prompt: "x", negative_prompt: null }],
    ["num_inference_steps", { prompt: "x", num_inference_steps: 0 }],
    ["num_inference_steps", { prompt: "x", num_inference_steps: 51 }],
    ["num_inference_steps", { prompt: "x", num_inference_steps: 2.5 }],
    ["num_inference_steps", { prompt: "x", num_inference_steps: "20" }],
    ["width", { prompt: "x", width: 56 }],
    ["width", { prompt: "x", width: 100 }],
    ["width", { prompt: "x", width: 2056 }],
    ["width", { prompt: "x", width: 520 }],
    ["height", { prompt: "x", height: -8 }],
    ["height", { prompt: "x", height: [64] }],
    ["seed", { prompt: "x", seed: -1 }],
    ["seed", { prompt: "x", seed: 2 ** 32 }],
    ["seed", { prompt: "x", seed: 1.5 }],
    ["seed", { prompt: "x", seed: "1" }],
    ["guidance_scale", { prompt: "x", guidance_scale: -0.1 }],
    ["guidance_scale", { prompt: "x", guidance_scale: 20.1 }],
    ["num_images", { prompt: "x", num_images: 0 }],
    ["clip_skip", { prompt: "x", clip_skip: -1 }],
    ["clip_skip", { prompt: "x", clip_skip: 12 }],
    ["clip_skip", { prompt: "x", clip_skip: 1.5 }],
    ["num_images", { prompt: "x", num_images: 5 }],
    ["num_images", { prompt: "x", num_images: 4, width: 512, height: 512 }],
    ["output_format", { prompt: "x", output_format: "gif" }],
    ["scheduler", { prompt: "x", scheduler: "magic" }],
    ["preview", { prompt: "x", preview: true }],
    ["preview", { prompt: "x", preview: [] }],
    ["preview.every", { prompt: "x", preview: { every: 0 } }],
    ["preview.max_per_second", { prompt: "x", preview: { max_per_second: 0 } }],
    ["preview.max_side", { prompt: "x", preview: { max_side: 63 } }],
    ["preview.quality", { prompt: "x", preview: { quality: 101 } }],
    ["preview.decoder", { prompt: "x", preview: { decoder: "vae" } }],
    ["preview.source", { prompt: "x", preview: { source: "noise" } }],
  ])("%s: %j", async (field, body) => {
    expect(await refused(body)).toEqual({ status: 422, fields: [`body.${field}`] });
  });

  it.each<[unknown]>([[[]], ["text"], [5], [true]])("a body that is %j and no object", async (body) => {
    expect(await refused(body)).toEqual({ status: 422, fields: ["body"] });
  });

  it("names every field that is wrong, not only the first", async () => {
    expect((await refused({ width: 56, seed: -1 })).fields.toSorted()).toEqual([
      "body.prompt",
      "body.seed",
      "body.width",
    ]);
  });
});

describe("a field at its limits is taken", () => {
  it.each<[object]>([
    [{ prompt: "x".repeat(5_000), num_inference_steps: 1 }],
    [{ prompt: "x", num_inference_steps: 50, preview: { every: 50, max_per_second: 60, max_side: 64, quality: 1 } }],
    [{ prompt: "x", seed: 0, width: 64, height: 512, guidance_scale: 0 }],
    [{ prompt: "x", seed: 2 ** 32 - 1, guidance_scale: 20, negative_prompt: "" }],
  ])("%j", async (body) => {
    expect((await post(server.url, body)).status).toBe(200);
  });
});

describe("a body that cannot be read is a clear 4xx", () => {
  const json = { "content-type": "application/json" };
  it.each<[string, BodyInit | null, Record<string, string>, number]>([
    ["no body", null, json, 422],
    ["no body and no content type", null, {}, 422],
    ["NaN", '{"prompt":"x","guidance_scale":NaN}', json, 400],
    ["Infinity", '{"prompt":"x","guidance_scale":Infinity}', json, 400],
    ["a number beyond all doubles", '{"prompt":"x","guidance_scale":1e999}', json, 422],
    ["half an object", '{"prompt":"x"', json, 400],
    ["invalid UTF-8", new Uint8Array([0x7b, 0x22, 0xff, 0xfe, 0x22, 0x3a, 0x31, 0x7d]), json, 400],
    ["deep JSON", "[".repeat(200_000) + "]".repeat(200_000), json, 422],
    [
      "a deep unknown field",
      `{"prompt":"x","num_inference_steps":1,"a":${"[".repeat(100_000)}${"]".repeat(100_000)}}`,
      json,
      200,
    ],
    ["huge JSON", JSON.stringify({ prompt: "x", padding: "y".repeat(2_000_001) }), json, 413],
    ["a form", "prompt=x", { "content-type": "application/x-www-form-urlencoded" }, 415],
    ["plain text", "hello", { "content-type": "text/plain" }, 415],
    ["a prototype in disguise", '{"prompt":"x","num_inference_steps":1,"__proto__":{"width":-1}}', json, 200],
  ])("%s", async (_name, body, headers, status) => {
    const response = await sendRaw(body, headers);
    expect(response.status).toBe(status);
    if (status !== 200)
      expect(await response.json()).toMatchObject({ detail: expect.anything(), message: expect.any(String) });
  });
});

describe("an unknown address", () => {
  it.each([
    ["GET", "/nowhere", 404],
    ["GET", "/stream", 405],
    ["DELETE", "/health", 405],
  ])("%s %s is %i", async (method, path, status) => {
    const response = await fetch(`${server.url}${path}`, { method });
    expect(response.status).toBe(status);
    expect(await response.json()).toMatchObject({ detail: expect.stringContaining(path) });
  });
});

it("bad input is never counted as an error of the server", () => {
  expect(logs.filter((line) => JSON.parse(line).level >= 50)).toEqual([]);
});
