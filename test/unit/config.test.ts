import { resolve } from "node:path";
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
    ["demo", "demo"],
    ["a path/with a space", "a path/with a space"],
    ["demo,", "demo"],
    ["demo, a/b", ["demo", "a/b"]],
    ["demo\na,b", ["demo", "a,b"]],
    ["\na,b", "a,b"],
  ])("name one model or several: %j", (value, model) => {
    expect(loadConfig({ env: { LATENTCAST_MODEL: value } }).model).toEqual(model);
  });

  it.each([
    [{ LATENTCAST_PORT: "70000" }, /LATENTCAST_PORT: .*got "70000"/],
    [{ LATENTCAST_DEVICES: "gpu0" }, /LATENTCAST_DEVICES: use auto, cpu or cuda:N/],
    [{ LATENTCAST_MAX_BATCH: "0" }, /LATENTCAST_MAX_BATCH/],
    [{ LATENTCAST_SHORTCUTS: "cfg-cutoff,turbo" }, /LATENTCAST_SHORTCUTS: use cfg-cutoff, step-cache, few-step/],
    [{ LATENTCAST_METADATA: "maybe" }, /LATENTCAST_METADATA/],
    [{ LATENTCAST_LOG_LEVEL: "loud" }, /LATENTCAST_LOG_LEVEL/],
    [{ LATENTCAST_PUBLIC_URL: "ftp://x" }, /LATENTCAST_PUBLIC_URL/],
    [{ LATENTCAST_PORT: " " }, /LATENTCAST_PORT: is blank/],
    [{ LATENTCAST_QUEUE_LIMIT: "\t" }, /LATENTCAST_QUEUE_LIMIT: is blank/],
    [{ LATENTCAST_API_KEYS: " " }, /LATENTCAST_API_KEYS: is blank/],
    [{ LATENTCAST_API_KEYS: " , " }, /LATENTCAST_API_KEYS: is an empty list/],
    [{ LATENTCAST_DEVICES: "," }, /LATENTCAST_DEVICES: is an empty list/],
    [{ LATENTCAST_MODEL: "," }, /LATENTCAST_MODEL: is an empty list/],
    [{ LATENTCAST_MODEL: " " }, /LATENTCAST_MODEL: is blank/],
    [{ LATENTCAST_PORT: "0x50" }, /LATENTCAST_PORT: is not a number/],
    [{ LATENTCAST_QUEUE_LIMIT: "tcp://10.0.0.1:80" }, /LATENTCAST_QUEUE_LIMIT: is not a number/],
    [{ LATENTCAST_DRAIN_TIMEOUT_SECONDS: "1e300" }, /LATENTCAST_DRAIN_TIMEOUT_SECONDS/],
    [{ LATENTCAST_DRAIN_TIMEOUT_SECONDS: "0" }, /LATENTCAST_DRAIN_TIMEOUT_SECONDS/],
    [{ LATENTCAST_CORS_ORIGINS: "https://page.example/" }, /LATENTCAST_CORS_ORIGINS: use origins/],
    [{ LATENTCAST_CORS_ORIGINS: "https://a.example,https://page.example/app" }, /LATENTCAST_CORS_ORIGINS: use origins/],
    [{ LATENTCAST_CORS_ORIGINS: "https://page.example:443" }, /LATENTCAST_CORS_ORIGINS: use origins/],
    [{ LATENTCAST_CORS_ORIGINS: "page.example" }, /LATENTCAST_CORS_ORIGINS: use origins/],
    [{ LATENTCAST_NATS_URL: "nats://me:secret@host:port" }, /^((?!secret).)*LATENTCAST_NATS_URL: ((?!secret).)*$/],
  ])("%j is refused in one line that names it", (env, message) => {
    expect(() => loadConfig({ env })).toThrow(ConfigError);
    expect(() => loadConfig({ env })).toThrow(message);
    try {
      loadConfig({ env });
    } catch (error) {
      expect(String(error)).not.toContain("\n");
    }
  });

  it.each(["", " "])("given as the empty flag %j are refused by name", (value) => {
    expect(() => loadConfig({ env: {}, flags: { port: value } })).toThrow(/^--port: /);
  });

  it("may have spaces around them", () => {
    const env = { LATENTCAST_PORT: " 9000\r", LATENTCAST_HOST: "127.0.0.1 ", LATENTCAST_METADATA: "0 " };
    expect(loadConfig({ env })).toMatchObject({ port: 9000, host: "127.0.0.1", metadata: false });
  });

  it.each(["*", "null", "https://page.example", "http://localhost:5173", "chrome-extension://abcdef"])(
    "take %s for an origin",
    (origin) => {
      expect(loadConfig({ env: { LATENTCAST_CORS_ORIGINS: origin } }).corsOrigins).toEqual([origin]);
    },
  );

  it("ignore the variable that Kubernetes sets for a Service of our name, and warn once", () => {
    const warnings: string[] = [];
    const env = { LATENTCAST_PORT: "tcp://10.43.7.21:80", PORT: "9000" };
    expect(loadConfig({ env, warn: (text) => warnings.push(text) }).port).toBe(9000);
    expect(warnings).toEqual([expect.stringContaining("LATENTCAST_PORT")]);
  });

  it("allow a drain of a year", () => {
    const year = 31_536_000;
    expect(loadConfig({ env: { LATENTCAST_DRAIN_TIMEOUT_SECONDS: String(year) } }).drainTimeoutMs).toBe(year * 1_000);
  });

  it("name folders absolutely, and ignore relative folders of the user", () => {
    const env = { HOME: "/home/alice", XDG_CACHE_HOME: "cache", LATENTCAST_DATA_DIR: "data" };
    expect(loadConfig({ env })).toMatchObject({ cacheDir: "/home/alice/.cache/latentcast", dataDir: resolve("data") });
  });

  it.each([
    [{ LATENTCAST_ROLE: "gateway" }, "--role gateway is a part in a fleet: name its NATS servers with --nats."],
    [{ LATENTCAST_ROLE: "node" }, "--role node is a part in a fleet"],
    [{ LATENTCAST_NATS_URL: "a", LATENTCAST_MODEL: "demo,noise" }, "--model: a node of a fleet serves one model"],
  ])("of a fleet that make no sense together are refused: %j", (env, sentence) => {
    expect(() => loadConfig({ env })).toThrow(sentence);
    expect(loadConfig({ env: { ...env, LATENTCAST_NATS_URL: "a", LATENTCAST_ROLE: "gateway" } }).role).toBe("gateway");
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
