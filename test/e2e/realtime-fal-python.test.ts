/** fal's own Python client, as it comes from PyPI, on a realtime socket of a server with keys. */
import { execFile } from "node:child_process";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { startTestServer, testPython, type TestServer } from "../support/server.ts";

const program = fileURLToPath(new URL("../fixtures/fal_client_realtime.py", import.meta.url));
const result = (request_id: string): object => ({ request_id, seed: 7, content: "ffd8" });

let server: TestServer;
let seen: Record<string, unknown>;
beforeAll(async () => {
  server = await startTestServer({
    worker: "fixture_worker",
    env: { LATENTCAST_API_KEYS: "test:key", LATENTCAST_REALTIME_IDLE_SECONDS: "5" },
  });
  await server.ready();
  const { stdout } = await promisify(execFile)(testPython(), [program], {
    env: { PATH: process.env["PATH"], FAL_KEY: "test:key", SERVER_URL: server.url },
  });
  seen = JSON.parse(stdout) as typeof seen;
});
afterAll(() => server.close());

describe("fal_client.realtime", () => {
  it.each(["turns", "turns_with_token"])("answers input after input (%s)", (name) => {
    expect(seen[name]).toEqual([result("0"), result("1"), result("2")]);
  });

  it.each(["turns_async", "turns_async_with_token"])("answers the asynchronous client (%s)", (name) => {
    expect(seen[name]).toEqual(result("a"));
  });

  it("gives nothing but results for inputs that were superseded", () => {
    const ids = seen["only_results"] as string[];
    expect([ids[0], ids.at(-1)]).toEqual(["first", "19"]);
    expect(ids.length).toBeLessThan(21);
  });

  it("raises what is wrong with an input by its field, and goes on", () => {
    expect(seen["wrong_input"]).toEqual({
      error: "INVALID_INPUT",
      reason: expect.stringContaining("guidance_scale"),
      after: result("b"),
    });
  });

  it("raises the status of a key that is not known", () => {
    expect(seen["wrong_key"]).toContain("401");
  });

  it("is told that it was idle, and then of the end", () => {
    expect(seen["idle"]).toEqual(["TIMEOUT", null]);
  });
});
