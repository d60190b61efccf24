import { describe, expect, it } from "vitest";
import { QUEUE_DIALECTS, dialectAt, dialectNamed, dialectOf } from "../../../src/dialects/registry.ts";
import { LatentcastError } from "../../../src/errors.ts";

describe("a dialect", () => {
  it.each([
    ["", "latentcast"],
    ["local/sdxl", "latentcast"],
    ["fal-ai/fast-sdxl", "fast-sdxl"],
    ["fal-ai/flux", "fast-sdxl"],
    ["fal-aix/flux", "latentcast"],
  ])("of the model %j is %s", (model, name) => {
    expect(dialectOf(model).name).toBe(name);
    expect(dialectAt(`/${model}/stream`).name).toBe(name);
  });

  it.each([
    ["/v1", "openai"],
    ["/v1/models?api-version=1", "openai"],
    ["//v1//images/generations", "openai"],
    ["/images/generations", "openai"],
    ["/models", "openai"],
    ["/sdapi/v1/progress?skip_current_image=true", "a1111"],
    ["//sdapi//v1//txt2img", "a1111"],
    ["/internal/progress", "a1111"],
    ["/internal/other", "latentcast"],
    ["/sdapix", "latentcast"],
    ["/v1x/models", "latentcast"],
    ["/v10/models", "latentcast"],
    ["/", "latentcast"],
  ])("of the address %j is %s", (address, name) => {
    expect(dialectAt(address).name).toBe(name);
  });

  it("is found by the name that requests are stored with, and an unknown name fails", () => {
    for (const dialect of QUEUE_DIALECTS) expect(dialectNamed(dialect.name)).toBe(dialect);
    expect(() => dialectNamed("of-tomorrow")).toThrow(/of-tomorrow/);
  });

  it.each(QUEUE_DIALECTS)("$name answers an error with the same code in header and body", ({ error }) => {
    const failure = new LatentcastError("queue_full", { retryAfterSeconds: 3 });
    expect(error(failure)).toEqual({
      status: 429,
      headers: { "x-fal-error-type": "queue_full", "retry-after": "3" },
      body: { detail: failure.message, message: failure.message, error_type: "queue_full" },
    });
  });

  it.each(QUEUE_DIALECTS)("$name frames an event as one line of ASCII JSON", ({ frame }) => {
    expect(frame({ kind: "result", body: { prompt: "\u65e5\n\u2028" } }).toString()).toBe(
      'data: {"prompt":"\\u65e5\\n\\u2028"}\n\n',
    );
    const error = new LatentcastError("out_of_memory");
    expect(JSON.parse(frame({ kind: "error", error }).toString().slice("data: ".length))).toMatchObject({
      error: error.message,
      error_type: "out_of_memory",
    });
  });
});
