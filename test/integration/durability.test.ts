import { spawnSync } from "node:child_process";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { DataDirInUseError } from "../../src/storage/data-lock.ts";
import { openStorage } from "../../src/storage/open.ts";
import { generateInput } from "../../src/schema/input.ts";
import { request } from "../contract/store-under-test.ts";
import { eventually } from "../support/eventually.ts";
import { readEvents, submit, type NamedEvent } from "../support/queue.ts";
import { startServerProcess, type ServerProcess } from "../support/server-process.ts";
import { startTestServer } from "../support/server.ts";
import { post } from "../support/sse.ts";
import { writeVersion1 } from "../support/store-version-1.ts";
import { receiveWebhooks, type Delivery } from "../support/webhook-receiver.ts";

let dataDir: string;
beforeEach(async () => {
  dataDir = await mkdtemp(join(tmpdir(), "latentcast-data-"));
});
afterEach(() => rm(dataDir, { recursive: true, force: true }));

const start = (): Promise<ServerProcess> => startServerProcess({ dataDir, worker: "one_at_a_time" });
const input = { prompt: "x", num_inference_steps: 10 };

async function result(url: string, id: string): Promise<Record<string, unknown>> {
  await eventually(async () => expect((await fetch(`${url}/requests/${id}/status`)).status).toBe(200), 120_000);
  const response = await fetch(`${url}/requests/${id}`);
  expect(response.status).toBe(200);
  return response.json();
}

const until = async (url: string, id: string, name: string, step = 0): Promise<NamedEvent[]> => {
  const isEnough = (event: NamedEvent) => event.name === name && Number(event.data["step"] ?? 0) >= step;
  return (await readEvents(`${url}/requests/${id}/events`, { isEnough })).events;
};

/** What the client knows of a request that was accepted. */
interface Accepted {
  readonly seed: number;
  /** The result, if it was told before the kill. */
  readonly seen?: unknown;
}

describe("a server that is killed", () => {
  // Seven starts of a server at two seconds of processor time each; a machine that is busy with more takes minutes.
  it(
    "at ten moments between submit and result loses no request: each ends once, with the picture of its seed",
    { timeout: 600_000 },
    async () => {
      // The receiver leaves the last moment's delivery unanswered until that server is dead.
      let isHolding = false;
      await using webhooks = await receiveWebhooks((response) => (isHolding ? undefined : void response.end()));
      const accepted = new Map<string, Accepted>();
      let seeds = 0;
      const path = `/queue/local/sdxl?fal_webhook=${encodeURIComponent(webhooks.url)}`;
      const accept = async (url: string): Promise<string> => {
        seeds += 1;
        const { request_id: id } = await submit(url, { ...input, seed: seeds }, { path });
        accepted.set(id, { seed: seeds });
        return id;
      };
      const see = (id: string, seen: unknown): void => void accepted.set(id, { ...accepted.get(id)!, seen });

      const lives: ((url: string) => Promise<unknown>)[] = [
        async (url) => {
          const ended = await accept(url);
          see(ended, (await until(url, ended, "result")).at(-1)?.data);
          await until(url, await accept(url), "progress");
          await until(url, await accept(url), "queued");
          await accept(url);
        },
        async (url) => {
          await until(url, await accept(url), "started");
          // Nobody waits for the answer: whether it is accepted is open, and must do no harm either way.
          void post(url + path, { ...input, seed: 1_000 }).catch(() => undefined);
          await new Promise(setImmediate);
        },
        async (url) => {
          // Picks its seed itself.
          const { request_id: id } = await submit(url, input, { path });
          const preview = (await until(url, id, "preview")).find(({ name }) => name === "preview");
          accepted.set(id, { seed: Number(preview?.data["seed"]) });
        },
        async (url) => until(url, await accept(url), "progress", 5),
        async (url) => until(url, await accept(url), "progress", 9),
        async (url) => {
          isHolding = true;
          const id = await accept(url);
          await eventually(() => expect(webhooks.deliveries.map(requestOf)).toContain(id), 120_000);
          see(id, await result(url, id));
        },
      ];
      for (const live of lives) {
        await using server = await start();
        for (const id of accepted.keys()) await result(server.url, id);
        await live(server.url);
        await server.kill();
      }
      isHolding = false;

      await using last = await start();
      expect(accepted.size).toBe(9);
      for (const [id, { seed, seen }] of accepted) {
        const body = await result(last.url, id);
        expect(body["seed"]).toBe(seed);
        // Once told it stays as it was, to its timings: nothing that had ended was made again.
        if (seen !== undefined) expect(body).toEqual(seen);
        await eventually(() => {
          const told = webhooks.deliveries.filter((delivery) => requestOf(delivery) === id);
          expect(told.length).toBeGreaterThanOrEqual(1);
          for (const delivery of told) expect(JSON.parse(delivery.body)).toMatchObject({ status: "OK", payload: body });
        });
      }
    },
  );

  it("leaves event ids that mean nothing to the next server: a listener with one gets the state and the end", async () => {
    let [blockerId, waitingId, lastId] = ["", "", ""];
    {
      await using first = await start();
      blockerId = (await submit(first.url, { prompt: "slow", num_inference_steps: 50 })).request_id;
      await until(first.url, blockerId, "progress", 5);
      waitingId = (await submit(first.url, { ...input, seed: 3 })).request_id;
      lastId = (await until(first.url, waitingId, "queued")).at(-1)!.id;
      await first.kill();
    }
    await using second = await start();
    await until(second.url, blockerId, "started");
    const events = readEvents(`${second.url}/requests/${waitingId}/events`, { lastEventId: lastId });
    // Of a higher number than there is any event here, and in the shape of an earlier version.
    const old = readEvents(`${second.url}/requests/${waitingId}/events`, { lastEventId: "1.40" });
    await until(second.url, waitingId, "queued");
    await fetch(`${second.url}/requests/${blockerId}/cancel`, { method: "PUT" });
    for (const heard of [(await events).events, (await old).events]) {
      expect(heard[0]?.name).toBe("queued");
      expect(heard.at(-1)).toMatchObject({ name: "result", data: { seed: 3 } });
    }
  });

  it("each time it runs one request fails that request with the reason", async () => {
    const id = "11111111-1111-4111-8111-111111111111";
    const accepted = request(id, { input: generateInput.parse(input), acceptedAtMs: Date.now() });
    for (let life = 1; life <= 3; life += 1) {
      const storage = await openStorage({ dataDir, limitBytes: 2 ** 30, keepMs: 3_600_000 });
      if (life === 1) await storage.requests.accept(accepted);
      await storage.requests.claim(id, "a server that dies", 60_000);
      await storage.close();
    }
    await using server = await startTestServer({ worker: "fixture_worker", env: { LATENTCAST_DATA_DIR: dataDir } });
    await eventually(async () => expect((await fetch(`${server.url}/requests/${id}/status`)).status).toBe(200));
    const answer = await fetch(`${server.url}/requests/${id}`);
    expect([answer.status, await answer.json()]).toMatchObject([503, { error_type: "worker_crashed" }]);
  });
});

function requestOf({ body }: Delivery): string {
  return JSON.parse(body).request_id;
}

describe("the data folder", () => {
  it("of version 1 is used: waiting requests run with their seeds, results and files are served", async () => {
    const { waiting, refused, ended, file } = await writeVersion1(dataDir);
    await using server = await startTestServer({ worker: "fixture_worker", env: { LATENTCAST_DATA_DIR: dataDir } });
    expect(await result(server.url, waiting.id)).toMatchObject({
      seed: 7,
      images: [{}, {}],
      warnings: waiting.warnings,
    });
    const response = await fetch(`${server.url}/requests/${ended.id}`);
    expect(Buffer.from(await response.arrayBuffer())).toEqual(ended.body);
    const refusal = await fetch(`${server.url}/requests/${refused.id}`);
    const { fields: detail, message } = refused;
    expect([refusal.status, await refusal.json()]).toEqual([422, { detail, message, error_type: "invalid_request" }]);
    const served = await fetch(`${server.url}/files/${file.key}`);
    expect(Buffer.from(await served.arrayBuffer())).toEqual(file.bytes);
  });

  it("belongs to one server at a time, and the error names its process", async () => {
    const env = { LATENTCAST_DATA_DIR: dataDir };
    const first = await startTestServer({ worker: "fixture_worker", env });
    const second = startTestServer({ worker: "fixture_worker", env });
    await expect(second).rejects.toThrow(DataDirInUseError);
    await expect(second).rejects.toThrow(`process ${process.pid}`);
    await first.close();
    await using third = await startTestServer({ worker: "fixture_worker", env });
    await third.ready();
  });

  it("keeps requests that wait when the server ends", async () => {
    const env = { LATENTCAST_DATA_DIR: dataDir };
    const first = await startTestServer({ worker: "one_at_a_time", env });
    await first.ready();
    const replies = await Promise.all([1, 2, 3].map((seed) => submit(first.url, { ...input, seed })));
    await first.close();
    await using second = await startTestServer({ worker: "one_at_a_time", env });
    for (const [index, { request_id: id }] of replies.entries()) {
      expect(await result(second.url, id)).toMatchObject({ seed: index + 1 });
    }
  });
});

describe("a disk that is full", () => {
  it("gives a typed error, damages nothing, and is over when there is room again", async (context) => {
    const disk = await mountSmallDisk(join(dataDir, "disk"));
    if (disk === undefined) return context.skip("needs mount rights");
    try {
      const env = { LATENTCAST_DATA_DIR: disk.path };
      await using first = await startTestServer({ worker: "fixture_worker", env });
      await first.ready();
      const kept: string[] = [];
      const large = { ...input, num_inference_steps: 1, width: 512, height: 512, output_format: "png" };
      const answers: Response[] = [];
      await writeFile(join(disk.path, "ballast"), Buffer.alloc(disk.sizeBytes - 2 ** 20));
      while (answers.at(-1)?.status !== 507) {
        expect(answers.length).toBeLessThan(2_000);
        const prompt = "x".repeat(4_000);
        answers.push(await post(`${first.url}/queue/local/sdxl`, { ...large, prompt }));
        const body = await answers.at(-1)!.json();
        if (answers.at(-1)!.ok) kept.push(body.request_id);
        else expect(body).toMatchObject({ error_type: "storage_full" });
      }
      // Pictures that nobody has to keep are made as before.
      expect((await post(first.url, input)).status).toBe(200);
      expect((await post(first.url, { ...large, sync_mode: false, num_images: 4 })).status).toBe(507);
      await rm(join(disk.path, "ballast"));
      for (const id of kept) expect((await result(first.url, id))["prompt"]).toHaveLength(4_000);
      await submit(first.url, input);
      await first.close();
      await using second = await startTestServer({ worker: "fixture_worker", env });
      for (const id of kept) expect((await result(second.url, id))["prompt"]).toHaveLength(4_000);
    } finally {
      disk.unmount();
    }
  });
});

/** A disk of 16 MiB in memory, or undefined where that is not allowed. */
async function mountSmallDisk(path: string) {
  const sizeBytes = 16 * 2 ** 20;
  await mkdir(path);
  const { status } = spawnSync("mount", ["-t", "tmpfs", "-o", `size=${sizeBytes}`, "none", path]);
  return status === 0 ? { path, sizeBytes, unmount: () => spawnSync("umount", ["-l", path]) } : undefined;
}
