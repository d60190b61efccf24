/** What is heard while there is no model yet: a proxy in between gives up on silence. */
import { createParser } from "eventsource-parser";
import { expect, it, vi } from "vitest";
import { eventually } from "../support/eventually.ts";
import { withKeepAlive } from "../support/keep-alive.ts";
import { startTestServer } from "../support/server.ts";
import { post } from "../support/sse.ts";

vi.mock("../../src/http/sse.ts", async (importOriginal) => withKeepAlive(await importOriginal(), 20));

it("a stream gets headers and comments while the worker hangs in its loading, and its result later", async () => {
  await using server = await startTestServer({ worker: "loads_in_stages" });
  const pid = await eventually(() => {
    const [worker] = server.jobs.snapshot().workers;
    expect(worker?.loading?.stage).toBe("weights");
    return worker!.pid!;
  });
  process.kill(pid, "SIGSTOP");
  const response = await post(`${server.url}/stream`, { prompt: "x", num_inference_steps: 2 });
  expect(response.status).toBe(200);
  expect(response.headers.get("content-type")).toContain("text/event-stream");
  const events: Record<string, unknown>[] = [];
  const parser = createParser({ onEvent: ({ data }) => void events.push(JSON.parse(data)) });
  let text = "";
  let isFrozen = true;
  for await (const chunk of response.body ?? []) {
    const part = Buffer.from(chunk).toString();
    text += part;
    parser.feed(part);
    if (!isFrozen || !text.includes(": ping\n: ping\n")) continue;
    expect(events).toEqual([]);
    isFrozen = false;
    process.kill(pid, "SIGCONT");
    process.kill(pid, "SIGUSR1");
  }
  expect(text.startsWith(": welcome\n")).toBe(true);
  expect(events.at(-1)).toMatchObject({ prompt: "x", image: { width: 64 } });
});
