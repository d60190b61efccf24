import { describe, expect, it } from "vitest";
import { modelName } from "../../../src/dialects/model-name.ts";

describe("modelName", () => {
  it.each([
    ["local/sdxl", "local/sdxl"],
    ["/local/sdxl/stream", "local/sdxl"],
    ["fal-ai/fast-sdxl/image-to-image", "fal-ai/fast-sdxl"],
    ["110602490/sdxl_v1.0", "110602490/sdxl_v1.0"],
    ["workflows/me/flow/stream", "workflows/me/flow"],
    ["comfy/me/flow", "comfy/me/flow"],
    ["vendor/v1", "vendor/v1"],
  ])("%s names %s", (path, name) => {
    expect(modelName(path)).toBe(name);
  });

  it.each([
    [""],
    ["local"],
    ["workflows/me"],
    ["v1/images/generations"],
    ["v1beta1/models"],
    ["v2.1/x"],
    ["sdapi/v1/txt2img"],
    ["SDAPI/v1/txt2img"],
    ["wp-json/wp"],
    ["api/v1/generate"],
    ["openai/deployments/x"],
    ["queue/local/sdxl"],
    [".env/x"],
    ["local/..%2f"],
  ])("%j names no model", (path) => {
    expect(modelName(path)).toBeUndefined();
  });
});
