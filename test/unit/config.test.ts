import { describe, expect, it } from "vitest";
import { ConfigError, isLoopback, loadConfig } from "../../src/config.ts";

describe("settings", () => {
  it("come from flags, then the environment, then defaults", () => {
    expect(loadConfig({ env: {} }).port).toBe(8080);
    expect(loadConfig({ env: { PORT: "1" } }).port).toBe(1);
    expect(loadConfig({ env: { PORT: "1", LATENTCAST_PORT: "2" } }).port).toBe(2);
    expect(loadConfig({ env: { LATENTCAST_PORT: "2" }, flags: { port: "3" } }).port).toBe(3);
    expect(loadConfig({ env: { LATENTCAST_PORT: "" } }).port).toBe(8080);
  });

  it.each([
    [{ LATENTCAST_PORT: "70000" }, /LATENTCAST_PORT: .*got "70000"/],
    [{ LATENTCAST_DEVICES: "gpu0" }, /LATENTCAST_DEVICES: use auto, cpu or cuda:N/],
    [{ LATENTCAST_MAX_BATCH: "0" }, /LATENTCAST_MAX_BATCH/],
    [{ LATENTCAST_SHORTCUTS: "cfg-cutoff,turbo" }, /LATENTCAST_SHORTCUTS: use cfg-cutoff, step-cache, few-step/],
    [{ LATENTCAST_METADATA: "maybe" }, /LATENTCAST_METADATA/],
    [{ LATENTCAST_LOG_LEVEL: "loud" }, /LATENTCAST_LOG_LEVEL/],
    [{ LATENTCAST_PUBLIC_URL: "ftp://x" }, /LATENTCAST_PUBLIC_URL/],
  ])("%j is refused in one line that names it", (env, message) => {
    expect(() => loadConfig({ env })).toThrow(ConfigError);
    expect(() => loadConfig({ env })).toThrow(message);
    try {
      loadConfig({ env });
    } catch (error) {
      expect(String(error)).not.toContain("\n");
    }
  });

  it("do not open the server to other machines without a key", () => {
    expect(() => loadConfig({ env: { LATENTCAST_HOST: "0.0.0.0" } })).toThrow(/LATENTCAST_API_KEYS/);
    expect(loadConfig({ env: { LATENTCAST_HOST: "0.0.0.0", LATENTCAST_API_KEYS: "k" } }).host).toBe("0.0.0.0");
    expect(loadConfig({ env: { LATENTCAST_HOST: "::", LATENTCAST_ALLOW_ANONYMOUS: "1" } }).host).toBe("::");
  });

  it.each([
    ["localhost", true],
    ["127.0.0.1", true],
    ["127.8.9.1", true],
    ["::1", true],
    ["127.evil.com", false],
    ["0.0.0.0", false],
  ])("%s is loopback: %s", (host, expected) => {
    expect(isLoopback(host)).toBe(expected);
  });
});
