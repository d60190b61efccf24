/** fal's own JavaScript client, as it comes from npm, on a realtime socket of a server with keys. Its host is fixed: see {@link toLocal}. */
import { randomUUID } from "node:crypto";
import { createFalClient, type ApiError, type FalClient } from "@fal-ai/client";
import { afterAll, beforeAll, beforeEach, describe, expect, it, vi } from "vitest";
import { WebSocket } from "ws";
import { eventually } from "../support/eventually.ts";
import { startTestServer, type TestServer } from "../support/server.ts";

const id = "local/sdxl";

interface Result {
  readonly request_id: string;
  readonly seed: number;
  readonly images: readonly { readonly content: Uint8Array; readonly url?: string; readonly width: number }[];
}

let server: TestServer;
let fal: FalClient;
const logs: string[] = [];
/** Addresses of the sockets that the client opened. */
const opened: string[] = [];
beforeAll(async () => {
  server = await startTestServer({
    worker: "fixture_worker",
    env: { LATENTCAST_API_KEYS: "secret", LATENTCAST_REALTIME_IDLE_SECONDS: "1.5" },
    logs,
  });
  await server.ready();
  vi.stubGlobal("WebSocket", toLocal(server.url));
  fal = createFalClient({ credentials: "secret", proxyUrl: { url: `${server.url}/fal`, when: "always" } });
});
afterAll(() => server.close());
beforeEach(() => {
  opened.length = 0;
});

/** Node 20 has no WebSocket of its own, and the client no setting for its host. */
function toLocal(url: string): new (address: string) => WebSocket {
  return class extends WebSocket {
    constructor(address: string) {
      super(address.replace("wss://fal.run", url.replace(/^http/, "ws")));
      opened.push(address);
    }
  };
}

function connect(options: Partial<Parameters<FalClient["realtime"]["connect"]>[1]> = {}) {
  const results: Result[] = [];
  const errors: ApiError<unknown>[] = [];
  const connection = fal.realtime.connect<Record<string, unknown>, Result>(id, {
    connectionKey: randomUUID(),
    throttleInterval: 0,
    onResult: (result) => results.push(result),
    onError: (error) => errors.push(error),
    ...options,
  });
  const result = (requestId: string): Promise<Result> =>
    eventually(() => {
      expect(errors).toEqual([]);
      const found = results.find((each) => each.request_id === requestId);
      expect(found).toBeDefined();
      return found!;
    });
  return { ...connection, results, errors, result };
}

const ask = (request_id: string, fields: object = {}) => ({
  prompt: "x",
  num_inference_steps: "2",
  request_id,
  ...fields,
});

describe("fal.realtime", () => {
  it("answers twenty inputs in turn with their seeds, their ids, and JPEGs of the right size", async () => {
    const { send, close, result } = connect();
    for (let seed = 0; seed < 20; seed += 1) {
      send(ask(String(seed), { seed }));
      const answer = await result(String(seed));
      expect(answer).toMatchObject({ seed, images: [{ width: 64, height: 64, content_type: "image/jpeg" }] });
      expect([...answer.images[0]!.content.subarray(0, 2)]).toEqual([0xff, 0xd8]);
    }
    close();
  });

  it("with a sync_mode input finds a data URI beside the bytes", async () => {
    const { send, close, result } = connect();
    send(ask("a", { sync_mode: true, enable_safety_checks: false }));
    expect((await result("a")).images[0]!.url).toMatch(/^data:image\/jpeg;base64,/);
    close();
  });

  it("hears of a wrong input by its field, and goes on", async () => {
    const { send, close, errors, result } = connect();
    send(ask("a", { seed: "x" }));
    await eventually(() =>
      expect(errors.map(({ message }) => message)).toEqual([expect.stringMatching(/^INVALID_INPUT: seed/)]),
    );
    expect(errors.splice(0)[0]!.status).toBe(400);
    send(ask("b"));
    await result("b");
    close();
  });

  it("hears nothing of superseded inputs, and gets the last one", async () => {
    const { send, close, results, result } = connect();
    send(ask("first"));
    await result("first");
    for (let count = 0; count < 30; count += 1) send(ask(String(count)));
    await result("29");
    expect(results.length).toBeLessThan(30);
    close();
  });

  it("closes without an error", async () => {
    const { send, close, errors, result } = connect();
    send(ask("a"));
    await result("a");
    close();
    await eventually(() => expect(logs.some((line) => line.includes('"code":1005'))).toBe(true));
    expect(errors).toEqual([]);
  });

  it("that was idle opens a new socket with its next input", async () => {
    logs.length = 0;
    const { send, close, errors, result } = connect();
    send(ask("a"));
    await result("a");
    await eventually(() => expect(logs.some((line) => line.includes('"code":1000'))).toBe(true));
    // The client has heard of it when its next input opens another one.
    await eventually(() => {
      send(ask("b"));
      expect(opened).toHaveLength(2);
    });
    await result("b");
    expect(errors).toEqual([]);
    close();
  });

  it("with a token that is not good hears 1008, and asks for a new one with its next input", async () => {
    const tokens = ["stale.token"];
    const { send, close, errors, result } = connect({
      tokenProvider: async () =>
        tokens.pop() ?? (await (await fetch(`${server.url}/rest/tokens/`, tokenRequest(["sdxl"]))).json()),
    });
    send(ask("lost"));
    await eventually(() => expect(errors.map(({ status }) => status)).toEqual([1_008]));
    errors.length = 0;
    send(ask("b"));
    await result("b");
    expect(opened.map((address) => new URL(address).searchParams.get("fal_jwt_token") === "stale.token")).toEqual([
      true,
      false,
    ]);
    close();
  });

  it("leaves no token in the log", async () => {
    const { send, close, result } = connect();
    send(ask("a"));
    await result("a");
    close();
    const token = new URL(opened[0]!).searchParams.get("fal_jwt_token")!;
    await eventually(() => expect(logs.some((line) => line.includes("realtime connection"))).toBe(true));
    expect(token.length).toBeGreaterThan(40);
    expect(logs.filter((line) => line.includes(token) || line.includes("fal_jwt_token"))).toEqual([]);
  });
});

const tokenRequest = (apps: readonly string[], fields: object = {}) => ({
  method: "POST",
  headers: { "content-type": "application/json", authorization: "Key secret" },
  body: JSON.stringify({ allowed_apps: apps, token_expiration: 120, ...fields }),
});

describe("a token", () => {
  it.each(["/rest/tokens/", "/rest/tokens"])("is a bare string at %s", async (path) => {
    const answer = await fetch(`${server.url}${path}`, tokenRequest(["sdxl"]));
    expect([answer.status, await answer.json()]).toEqual([200, expect.stringMatching(/^[\w-]+\.[\w-]+$/)]);
  });

  it("comes through the proxy address too, and as an object from the newer path", async () => {
    const request = tokenRequest([], { allowed_paths: ["local/sdxl/realtime"] });
    const headers = { ...request.headers, "x-fal-target-url": "https://rest.fal.ai/tokens/realtime" };
    const answer = await fetch(`${server.url}/fal`, { ...request, headers });
    expect([answer.status, await answer.json()]).toEqual([201, { token: expect.any(String) }]);
  });

  it("needs a key", async () => {
    const answer = await fetch(`${server.url}/rest/tokens/`, {
      ...tokenRequest(["sdxl"]),
      headers: { "content-type": "application/json" },
    });
    expect(answer.status).toBe(401);
  });

  it("opens the stream of its model and no other", async () => {
    const token: unknown = await (await fetch(`${server.url}/rest/tokens/`, tokenRequest(["sdxl"]))).json();
    const statusOf = async (path: string): Promise<number> =>
      (
        await fetch(`${server.url}${path}?fal_jwt_token=${String(token)}`, {
          method: "POST",
          headers: { "content-type": "application/json" },
          body: JSON.stringify({ prompt: "x", num_inference_steps: 1 }),
        })
      ).status;
    expect([
      await statusOf("/local/sdxl/stream"),
      await statusOf("/local/flux/stream"),
      await statusOf("/queue"),
    ]).toEqual([200, 401, 401]);
  });

  it("of another model opens no socket", async () => {
    const { send, errors } = connect({
      tokenProvider: async () => (await fetch(`${server.url}/rest/tokens/`, tokenRequest(["flux"]))).json(),
    });
    send(ask("a"));
    await eventually(() => expect(errors.map(({ status }) => status)).toEqual([1_008]));
  });
});
