import { randomBytes } from "node:crypto";
import { describe, expect, it } from "vitest";
import { AccessTokens } from "../../../src/http/access-tokens.ts";

const tokens = new AccessTokens(randomBytes(32));
const sign = (...apps: string[]): string => tokens.sign({ apps, caller: "key-1", expiresAtMs: 1_000 });

describe("an access token", () => {
  it.each([
    ["sdxl", "/local/sdxl/realtime"],
    ["sdxl", "/other/sdxl"],
    ["local/sdxl", "/local/sdxl/realtime"],
    ["/local/sdxl/realtime", "/local/sdxl/realtime"],
    ["sdxl", "/local/sdxl/stream"],
    ["realtime", "/realtime"],
    ["workflow", "/workflows/owner/workflow/realtime"],
  ])("for %j opens %s", (app, path) => {
    expect(tokens.holder(sign("x", app), path, 0)).toBe("key-1");
  });

  it.each([
    ["sdxl", "/local/flux/realtime"],
    ["local/sdxl", "/other/sdxl/realtime"],
    ["local", "/local/sdxl/realtime"],
    ["", "/local/sdxl/realtime"],
    ["sdxl", "/stream"],
  ])("for %j does not open %s", (app, path) => {
    expect(tokens.holder(sign(app), path, 0)).toBeUndefined();
  });

  it("is good until it expires", () => {
    expect([tokens.holder(sign("a"), "/b/a", 999), tokens.holder(sign("a"), "/b/a", 1_000)]).toEqual([
      "key-1",
      undefined,
    ]);
  });

  it.each<[string, (token: string) => string]>([
    ["nothing", () => ""],
    ["any text", () => "t"],
    ["another server's", () => new AccessTokens(randomBytes(32)).sign({ apps: ["a"], caller: "x", expiresAtMs: 9 })],
    ["a changed one", (token) => `x${token}`],
    ["one without its signature", (token) => token.split(".")[0]!],
  ])("%s is none", (_name, spoil) => {
    expect(tokens.holder(spoil(sign("a")), "/b/a", 0)).toBeUndefined();
  });
});
