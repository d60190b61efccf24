/** Reverse proxies between client and server: what arrives, what a failure looks like behind them, and whether leaving reaches the server. */
import { execFile } from "node:child_process";
import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { createFalClient } from "@fal-ai/client";
import { createProxyServer } from "httpxy";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { isHere } from "../../scripts/lib/tally.ts";
import { createClient } from "../../src/client/index.ts";
import { eventually } from "../support/eventually.ts";
import {
  REVERSE_PROXIES,
  startReverseProxy,
  type ReverseProxy,
  type ReverseProxyName,
} from "../support/reverse-proxy.ts";
import { RealtimeClient } from "../support/realtime.ts";
import { startTestServer, type TestServer } from "../support/server.ts";
import { post, postStream } from "../support/sse.ts";

let server: TestServer;
beforeAll(async () => {
  server = await startTestServer({
    worker: "fails_after_preview",
    env: { LATENTCAST_WORKER_FIXTURE_STEP_SECONDS: "0.05" },
  });
  await server.ready();
});
afterAll(() => server.close());

// The keys of an object with such a type.
const names = Object.keys(REVERSE_PROXIES) as ReverseProxyName[];

/** The exit code of curl, which is what a script goes by. */
async function curl(url: string, body: object): Promise<number> {
  const args = ["-sN", url, "-o", "/dev/null", "-H", "content-type: application/json", "-d", JSON.stringify(body)];
  return new Promise((resolve) => {
    const child = execFile("curl", args, () => resolve(child.exitCode ?? -1));
  });
}

describe.each(names)("behind %s", (name) => {
  const program = name.split(" ", 1)[0] ?? name;
  let started: ReverseProxy | undefined;
  beforeAll(async () => {
    if (isHere(program)) started = await startReverseProxy(name, server.url);
  });
  afterAll(() => started?.[Symbol.asyncDispose]());

  beforeEach((context) => {
    if (started === undefined) context.skip(`needs ${program}`);
  });

  function inFront(): ReverseProxy {
    if (started === undefined) throw new Error(`${name} is not there`);
    return started;
  }

  // Over HTTP/1.0, which nginx speaks by default, there are none.
  it.each(name === "nginx" ? [] : ["a realtime socket"])(
    "%s is let through, and its work ends when the client leaves",
    async () => {
      const client = await RealtimeClient.open(inFront().url);
      client.ask({ prompt: "x", request_id: "a", num_inference_steps: 2 });
      expect((await client.result("a")).message).toMatchObject({ request_id: "a" });
      client.ask({ prompt: "x", request_id: "b", num_inference_steps: 50 });
      await eventually(() => expect(server.jobs.snapshot().queue.unfinished).toBe(1));
      client.socket.terminate();
      await eventually(() => expect(server.jobs.snapshot().queue.unfinished).toBe(0));
    },
  );

  it("previews arrive while the work is under way, and leaving stops it", async () => {
    const proxy = inFront();
    const { succeeded, cancelled } = server.jobs.snapshot().counters;
    const leave = new AbortController();
    const response = await post(
      `${proxy.url}/stream`,
      { prompt: "x", num_inference_steps: 50 },
      { signal: leave.signal },
    );
    let text = "";
    for await (const chunk of response.body ?? []) {
      text += Buffer.from(chunk).toString("latin1");
      if (text.includes('"preview"')) break;
    }
    expect(text).toContain('"preview"');
    expect(server.jobs.snapshot().counters.succeeded).toBe(succeeded);
    leave.abort();
    await eventually(() => expect(server.jobs.snapshot().counters.cancelled).toBe(cancelled + 1));
  });

  it("a run that is waited for without a stream stops when its client leaves", async () => {
    const proxy = inFront();
    const { accepted, cancelled } = server.jobs.snapshot().counters;
    const leave = new AbortController();
    const answer = post(proxy.url, { prompt: "x", num_inference_steps: 50 }, { signal: leave.signal });
    answer.catch(() => undefined);
    await eventually(() => expect(server.jobs.snapshot().counters.accepted).toBe(accepted + 1));
    leave.abort();
    await eventually(() => expect(server.jobs.snapshot().counters.cancelled).toBe(cancelled + 1));
  });

  it("a whole stream ends well, with the result last", async () => {
    const proxy = inFront();
    const { broken, events } = await postStream(`${proxy.url}/stream`, { prompt: "x" });
    expect(broken).toBeUndefined();
    expect(events.at(-1)).toMatchObject({ prompt: "x", image: { width: 64 } });
    expect(await curl(`${proxy.url}/stream`, { prompt: "x" })).toBe(0);
  });

  it.each(REVERSE_PROXIES[name].passesBreaksOn ? ["/stream"] : [])(
    "%s that fails never looks finished",
    async (path) => {
      const proxy = inFront();
      const input = { prompt: "out_of_memory" };
      const fal = createFalClient({ credentials: "none", proxyUrl: { url: `${proxy.url}/fal`, when: "always" } });
      for (let attempt = 0; attempt < 3; attempt += 1) {
        expect(await curl(proxy.url + path, input)).not.toBe(0);
        expect((await postStream(proxy.url + path, input)).broken).toBeInstanceOf(Error);
        const stream = await fal.stream("local/sdxl", { input });
        const done = stream.done();
        done.catch(() => undefined);
        for await (const _ of stream);
        await expect(done).rejects.toBeInstanceOf(Error);
      }
    },
  );

  it("a stream that fails says so in its last event", async () => {
    const proxy = inFront();
    const { events } = await postStream(`${proxy.url}/stream`, { prompt: "out_of_memory" });
    expect(events.at(-1)).toMatchObject({ error_type: "out_of_memory" });
  });

  it("our own client rejects a run that fails", async () => {
    const proxy = inFront();
    const client = createClient({ baseUrl: proxy.url });
    await expect(client.stream({ prompt: "out_of_memory" }).result()).rejects.toMatchObject({ code: "out_of_memory" });
  });

  it("a request of the queue is followed to its result", async () => {
    const proxy = inFront();
    const fal = createFalClient({ credentials: "none", proxyUrl: { url: `${proxy.url}/fal`, when: "always" } });
    const { data } = await fal.subscribe("local/sdxl", { input: { prompt: "x" }, mode: "streaming" });
    expect(data).toMatchObject({ prompt: "x", image: { width: 64 } });
  });
});

/** What http-proxy-middleware 4 is made of; it asks for a newer Node than the tests run on. */
describe("behind httpxy", () => {
  const proxy = createServer((request, response) => {
    void createProxyServer({})
      .web(request, response, { target: server.url })
      .catch(() => response.destroy());
  });
  let url: string;
  beforeAll(async () => {
    proxy.listen(0, "127.0.0.1");
    await once(proxy, "listening");
    // A listening TCP server has an address of this form.
    url = `http://127.0.0.1:${(proxy.address() as AddressInfo).port}`;
  });
  afterAll(() => {
    proxy.closeAllConnections();
    proxy.close();
  });

  it("a stream that fails never looks finished", async () => {
    expect((await postStream(`${url}/stream`, { prompt: "out_of_memory" })).broken).toBeInstanceOf(Error);
    expect(await curl(`${url}/stream`, { prompt: "out_of_memory" })).not.toBe(0);
  });

  it("leaving stops the work", async () => {
    const { cancelled } = server.jobs.snapshot().counters;
    const leave = new AbortController();
    const response = await post(`${url}/stream`, { prompt: "x", num_inference_steps: 50 }, { signal: leave.signal });
    expect(response.status).toBe(200);
    leave.abort();
    await eventually(() => expect(server.jobs.snapshot().counters.cancelled).toBe(cancelled + 1));
  });
});
