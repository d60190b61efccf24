import { describe, expect, it } from "vitest";
import { eventually } from "../support/eventually.ts";
import { startTestServer } from "../support/server.ts";
import { post, postStream } from "../support/sse.ts";

const SECRET = "a very private wish";

async function run(
  env: Record<string, string>,
  act: (url: string) => Promise<unknown>,
): Promise<Record<string, unknown>[]> {
  const lines: string[] = [];
  const server = await startTestServer({ worker: "fails_after_preview", env, logs: lines });
  await server.ready();
  await act(server.url);
  await server.close();
  return lines.map((line) => JSON.parse(line));
}

describe("the log", () => {
  it("has the id of a request in all its lines, from acceptance to the end", async () => {
    let id: string | null = null;
    const lines = await run({}, async (url) => {
      const response = await post(`${url}/?key=hidden`, { prompt: SECRET, num_inference_steps: 2 });
      id = response.headers.get("x-fal-request-id");
    });
    expect(id).toBeTruthy();
    expect(lines.find(({ msg }) => msg === "job accepted")).toMatchObject({ jobId: id, steps: 2, width: 64 });
    expect(lines.find(({ msg }) => msg === "job succeeded")).toMatchObject({ jobId: id, workerDeaths: 0 });
    expect(lines.find(({ msg }) => msg === "request")).toMatchObject({
      reqId: id,
      level: 30,
      method: "POST",
      path: "/",
      status: 200,
      complete: true,
    });
    expect(JSON.stringify(lines)).not.toContain("hidden");
  });

  it("never has prompts in it unless they are switched on", async () => {
    const everything = async (url: string): Promise<void> => {
      await post(url, { prompt: SECRET });
      await post(url, { prompt: SECRET, width: 3 });
      await post(url, { prompt: SECRET, num_inference_steps: "x" });
      await post(`${url}/queue/local/sdxl`, { prompt: SECRET });
      await postStream(`${url}/stream`, { prompt: "internal_error", negative_prompt: SECRET, preview: { every: 1 } });
      await fetch(url, {
        method: "POST",
        headers: { "content-type": "application/json" },
        body: `{"prompt": "${SECRET}`,
      });
    };
    expect(JSON.stringify(await run({}, everything))).not.toContain(SECRET);
    const lines = await run({ LATENTCAST_LOG_PROMPTS: "1" }, everything);
    expect(lines.find(({ msg }) => msg === "job accepted")).toMatchObject({ prompt: SECRET });
  });

  it("keeps polls and probes at debug, and includes the workers' lines", async () => {
    const lines: string[] = [];
    await using server = await startTestServer({ worker: "crash_on_start", logs: lines });
    await fetch(`${server.url}/health`);
    await eventually(() => expect(lines.join("")).toContain("cannot start: the fixture was made so"));
    const parsed: Record<string, unknown>[] = lines.map((line) => JSON.parse(line));
    expect(parsed.find(({ route }) => route === "/health")).toMatchObject({ level: 20 });
    const word = parsed.find(({ msg }) => String(msg).includes("the fixture was made so"));
    expect(word).toMatchObject({ slot: 0, epoch: 1 });
  });
});
