import { createFalClient } from "@fal-ai/client";
import { GenericContainer, getContainerRuntimeClient, Wait, type StartedTestContainer } from "testcontainers";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { openBuildContext } from "../support/build-context.ts";
import { openCompose } from "../support/compose.ts";
import { eventually } from "../support/eventually.ts";
import { post, postStream } from "../support/sse.ts";

/** Where torch comes from; a machine with wheels of its own has put them into its base image. */
const TORCH_INDEX_URL = process.env["TORCH_INDEX_URL"] ?? "";
/** One look at the logs is worth more than the test's own report. */
const START_TIMEOUT_MS = 300_000;

class LockedContainer extends GenericContainer {
  constructor(image: string) {
    super(image);
    this.hostConfig.ReadonlyRootfs = true;
    this.hostConfig.CapDrop = ["ALL"];
    this.hostConfig.SecurityOpt = ["no-new-privileges"];
  }
}

let container: StartedTestContainer;
let base: string;

beforeAll(async () => {
  await using context = await openBuildContext();
  await GenericContainer.fromDockerfile(context.folder)
    .withBuildkit()
    .withBuildArgs({ TORCH_INDEX_URL })
    .build("latentcast:test", { deleteOnExit: false });
  container = await new LockedContainer("latentcast:test")
    .withEnvironment({
      LATENTCAST_API_KEYS: "container-key",
      LATENTCAST_MODEL: "auto",
      LATENTCAST_DEVICES: "cpu",
      // Threads of one process that wait for each other lose all their time to the others on a crowded machine.
      LATENTCAST_WORKER_THREADS: "1",
    })
    .withTmpFs({ "/tmp": "rw,noexec,size=256m" })
    .withExposedPorts(8080)
    // The image's own health check has to come true.
    .withWaitStrategy(Wait.forHealthCheck())
    .withStartupTimeout(START_TIMEOUT_MS)
    .start();
  base = `http://${container.getHost()}:${container.getMappedPort(8080)}`;
});
afterAll(() => container?.stop());

const KEY = { headers: { authorization: "Key container-key", "content-type": "application/json" } };

async function inside(...command: string[]): Promise<string> {
  const { output, exitCode } = await container.exec(command);
  if (exitCode !== 0) throw new Error(`${command.join(" ")}: exit code ${exitCode}: ${output}`);
  return output.trim();
}

interface Health {
  readonly workers: readonly { readonly pid: number; readonly state: string; readonly epoch: number }[];
}

async function health(): Promise<Health> {
  return (await fetch(`${base}/health`)).json();
}

describe("the image", () => {
  it("serves callers with a key, and no others", async () => {
    expect((await fetch(`${base}/ready`)).status).toBe(200);
    expect((await post(base, { prompt: "x" })).status).toBe(401);
    expect((await post(base, { prompt: "x", num_inference_steps: 2, width: 64, height: 64 }, KEY)).status).toBe(200);
  });

  it("runs server and worker as an unprivileged user, on a read-only root file system", async () => {
    const [worker] = (await health()).workers;
    expect(await inside("id", "-u")).toBe("10001");
    for (const pid of ["1", String(worker?.pid)]) {
      expect(await inside("grep", "^Uid:", `/proc/${pid}/status`)).toMatch(/^Uid:\s+10001\s+10001/);
    }
    await expect(inside("touch", "/app/dist/x")).rejects.toThrow(/Read-only file system/);
  });

  it("streams to fal's own client", async () => {
    const fal = createFalClient({ credentials: "container-key", proxyUrl: { url: `${base}/fal`, when: "always" } });
    const stream = await fal.stream("local/sdxl", {
      input: { prompt: "x", seed: 3, num_inference_steps: 6, width: 64, height: 64 },
    });
    const events: unknown[] = [];
    for await (const event of stream) events.push(event);
    expect(events.length).toBeGreaterThanOrEqual(3);
    expect(await stream.done()).toMatchObject({ seed: 3, prompt: "x", image: { width: 64, height: 64 } });
  });

  it("replaces a worker that is killed inside", async () => {
    const [before] = (await health()).workers;
    await inside("sh", "-c", `kill -9 ${before?.pid}`);
    await eventually(async () => {
      expect((await health()).workers[0]).toMatchObject({ state: "ready", epoch: 2 });
    }, START_TIMEOUT_MS);
    expect((await post(base, { prompt: "x", num_inference_steps: 2, width: 64, height: 64 }, KEY)).status).toBe(200);
  });

  it("finishes a running stream on SIGTERM and exits with 0", async () => {
    const runtime = await getContainerRuntimeClient();
    const running = runtime.container.getById(container.getId());
    const input = { prompt: "x", num_inference_steps: 50, width: 128, height: 128, preview: { every: 1 } };
    const stream = postStream(`${base}/stream`, input, KEY);
    await eventually(async () => {
      const exposed = await (await fetch(`${base}/metrics`, KEY)).text();
      expect(exposed).toContain("latentcast_jobs_in_flight 1");
    }, START_TIMEOUT_MS);
    await running.kill({ signal: "SIGTERM" });
    const { events, broken } = await stream;
    expect(broken).toBeUndefined();
    expect(events.at(-1)).toMatchObject({ prompt: "x", image: { content_type: "image/jpeg" } });
    await eventually(async () => {
      const { State: state } = await runtime.container.inspect(running);
      expect([state.Status, state.ExitCode]).toEqual(["exited", 0]);
    }, START_TIMEOUT_MS);
  });
});

describe("compose.yaml", () => {
  it("serves on loopback with its profile for machines without a GPU, and removes everything again", async (context) => {
    await using compose = await openCompose({
      project: "latentcast-test",
      file: "compose.yaml",
      override: { services: { cpu: { image: "latentcast:test" } } },
    });
    if (compose === undefined) return context.skip("needs Docker Compose");
    await compose.run("--profile", "cpu", "up", "--detach", "--no-build", "cpu");
    const url = await compose.url("cpu", 8080);
    expect(url).toMatch(/^http:\/\/127\.0\.0\.1:/);
    await eventually(async () => expect((await fetch(`${url}/ready`)).status).toBe(200), START_TIMEOUT_MS);
    expect((await post(url, { prompt: "x", num_inference_steps: 2, width: 64, height: 64 })).status).toBe(200);
    expect(await (await fetch(`${url}/health`)).json()).toMatchObject({ workers: [{ state: "ready" }] });
  });
});
