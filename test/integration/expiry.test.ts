/** What is kept stays for as long as was promised, whatever the wall clock says. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { eventually } from "../support/eventually.ts";
import { resultOf, submit } from "../support/queue.ts";
import { startTestServer, type TestServer } from "../support/server.ts";
import { post } from "../support/sse.ts";

let dataDir: string;
beforeEach(async () => {
  dataDir = await mkdtemp(join(tmpdir(), "latentcast-data-"));
});
afterEach(async () => {
  vi.useRealTimers();
  await rm(dataDir, { recursive: true, force: true });
});

const start = async (env: Record<string, string> = {}): Promise<TestServer> => {
  const server = await startTestServer({ worker: "fixture_worker", env: { LATENTCAST_DATA_DIR: dataDir, ...env } });
  await server.ready();
  return server;
};

async function makeFile(server: TestServer): Promise<string> {
  const { image } = await (await post(server.url, { prompt: "x", sync_mode: false })).json();
  return new URL(image.url).pathname;
}

describe("a wall clock that jumps", () => {
  it.each([
    ["a day ahead", 86_400_000],
    ["a day back", -86_400_000],
  ])("%s throws away no result, no file and no permission to upload, not even at the next start", async (_, jumpMs) => {
    const first = await start();
    const file = await makeFile(first);
    const reply = await submit(first.url, { prompt: "x" });
    await resultOf(reply).then((response) => response.arrayBuffer());
    const ticket = await (
      await post(`${first.url}/rest/storage/upload/initiate`, { content_type: "image/png" })
    ).json();
    vi.useFakeTimers({ toFake: ["Date"], now: Date.now() + jumpMs });
    expect((await fetch(ticket.upload_url, { method: "PUT", body: "x" })).status).toBe(200);
    const isThere = async ({ url }: TestServer): Promise<void> => {
      expect((await fetch(url + file)).status).toBe(200);
      expect((await fetch(`${url}/requests/${reply.request_id}`)).status).toBe(200);
    };
    await isThere(first);
    await first.close();
    await using second = await start();
    await isThere(second);
  });
});

describe("a file", () => {
  it("is gone when its time is over", async () => {
    await using server = await start({ LATENTCAST_RESULT_TTL_SECONDS: "4" });
    const file = await makeFile(server);
    expect((await fetch(server.url + file)).status).toBe(200);
    await eventually(async () => expect((await fetch(server.url + file)).status).toBe(404));
  });
});
