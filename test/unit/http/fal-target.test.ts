import { describe, expect, it } from "vitest";
import { routedUrl } from "../../../src/http/fal-target.ts";

const via = (target: string | undefined, url = "/fal"): string => routedUrl({ url, host: "localhost:1", target });

describe("an address of fal becomes a path of ours", () => {
  it.each([
    ["https://fal.run/local/sdxl", "/local/sdxl"],
    ["https://fal.run/local/sdxl/stream?x=1", "/local/sdxl/stream?x=1"],
    ["https://queue.fal.run/local/sdxl/requests/ID/status?logs=1", "/queue/local/sdxl/requests/ID/status?logs=1"],
    [
      "https://rest.fal.ai/storage/upload/initiate?storage_type=fal-cdn-v3",
      "/rest/storage/upload/initiate?storage_type=fal-cdn-v3",
    ],
    ["https://falrun.com/a/b", "/a/b"],
    ["https://queue.falrun.com/a/b", "/queue/a/b"],
  ])("%s", (target, path) => {
    expect(via(target)).toBe(path);
    expect(via(target, "/api/fal/proxy")).toBe(path);
  });
});

describe("any other address is left for the route that refuses it", () => {
  it.each([
    [undefined],
    ["not a url"],
    ["http://fal.run/a/b"],
    ["https://example.com/a/b"],
    ["https://fal.run.example.com/a/b"],
    ["https://example.com/?u=https://fal.run/a"],
    ["https://user@example.com#fal.run/a"],
    ["file:///etc/passwd"],
    ["https://127.0.0.1/a"],
  ])("%s", (target) => {
    expect(via(target)).toBe("/fal");
  });
});

it("a path after the proxy path is taken as it is, as Cloudflare's gateway does", () => {
  expect(via(undefined, "/fal/local/sdxl/stream?a=b")).toBe("/local/sdxl/stream?a=b");
});

it("a host that starts with queue. means the queue, once", () => {
  expect(routedUrl({ url: "/a/b", host: "queue.example.org", target: undefined })).toBe("/queue/a/b");
  expect(routedUrl({ url: "/queue/a/b", host: "queue.example.org", target: undefined })).toBe("/queue/a/b");
});

it("everything else stays as it came", () => {
  expect(routedUrl({ url: "/falcon?x", host: "example.org", target: "https://fal.run/a/b" })).toBe("/falcon?x");
});
