/** compose.cluster.yaml as it is shipped: three NATS servers, two gateways behind one address, two nodes on the processor. */
import { GenericContainer } from "testcontainers";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { z } from "zod";
import { openBuildContext } from "../support/build-context.ts";
import { openCompose, type ComposeProject } from "../support/compose.ts";
import { eventually } from "../support/eventually.ts";
import { post, postStream } from "../support/sse.ts";

const TORCH_INDEX_URL = process.env["TORCH_INDEX_URL"] ?? "";
const START_TIMEOUT_MS = 300_000;
const GATEWAYS = ["gateway-1", "gateway-2"] as const;

const Health = z.looseObject({
  cluster: z.looseObject({
    nodes: z.array(z.looseObject({ name: z.string(), state: z.string(), jobs: z.number() })),
  }),
});

const Accepted = z.looseObject({ request_id: z.string() });
const Result = z.looseObject({ image: z.looseObject({ url: z.string(), content_type: z.string() }) });

let project: ComposeProject | undefined;

beforeAll(async () => {
  await using context = await openBuildContext();
  const image = GenericContainer.fromDockerfile(context.folder).withBuildkit().withBuildArgs({ TORCH_INDEX_URL });
  await image.build("latentcast:test", { deleteOnExit: false });
  await image.withTarget("gateway").build("latentcast:test-gateway", { deleteOnExit: false });
  project = await openCompose({
    project: "latentcast-test-cluster",
    file: "compose.cluster.yaml",
    override: { services: { ...images(), ...published() } },
  });
  // Without images of their names being built: the override names those of above.
  await project?.run("up", "--detach", "--no-build");
});
afterAll(() => project?.[Symbol.asyncDispose]());

function images(): object {
  const gateway = { image: "latentcast:test-gateway" };
  // Threads of one process that wait for each other lose all their time to the others on a crowded machine. Images that share calls are
  // the same but for rounding; here they have to be equal.
  const node = { image: "latentcast:test", environment: { LATENTCAST_WORKER_THREADS: "1", LATENTCAST_MAX_BATCH: "1" } };
  return { keys: { image: "latentcast:test" }, init: gateway, "node-1": node, "node-2": node };
}

/** Each gateway has a port of its own here, so that a test can choose. */
function published(): object {
  const gateway = { image: "latentcast:test-gateway", ports: ["127.0.0.1:0:8080"] };
  return Object.fromEntries(GATEWAYS.map((name) => [name, gateway]));
}

beforeEach((context) => {
  if (project === undefined) context.skip("needs Docker Compose");
});

function compose(): ComposeProject {
  if (project === undefined) throw new Error("there is no Docker Compose");
  return project;
}

async function nodes(gateway: string): Promise<z.infer<typeof Health>["cluster"]["nodes"]> {
  return Health.parse(await (await fetch(`${gateway}/health`)).json()).cluster.nodes;
}

const INPUT = { prompt: "a beautiful sunset", seed: 8, num_inference_steps: 4, width: 128, height: 128 };

describe("the fleet of compose.cluster.yaml", () => {
  it("comes up with one command, and its gateways hear of both nodes", async () => {
    for (const name of GATEWAYS) {
      const url = await compose().url(name, 8080);
      await eventually(async () => {
        const ready = (await nodes(url)).filter(({ state }) => state === "ready");
        expect(ready.map((node) => node.name).sort()).toEqual(["node-1", "node-2"]);
      }, START_TIMEOUT_MS);
    }
  });

  it("draws the same image through either gateway and through the address in front of them", async () => {
    const urls = await Promise.all([...GATEWAYS, "proxy"].map((name) => compose().url(name, 8080)));
    const drawn = await Promise.all(
      urls.map(async (url) => {
        const response = await post(url, INPUT);
        expect(response.status).toBe(200);
        return z.looseObject({ image: z.looseObject({ url: z.string() }) }).parse(await response.json()).image.url;
      }),
    );
    expect(new Set(drawn).size).toBe(1);
  });

  it("goes on with a stream whose node is killed, and ends it with the image of its seed", async () => {
    const front = await compose().url("proxy", 8080);
    const input = { ...INPUT, num_inference_steps: 50, width: 256, height: 256, preview: { every: 1 } };
    const stream = postStream(`${front}/stream`, input);
    const busy = await eventually(async () => {
      const found = (await nodes(front)).find(({ jobs }) => jobs > 0);
      if (found === undefined) throw new Error("no node has the job yet");
      return found.name;
    }, START_TIMEOUT_MS);
    await compose().run("kill", "--signal", "SIGKILL", busy);
    const { events, broken } = await stream;
    expect(broken).toBeUndefined();
    const result = events.at(-1);
    expect(result).toMatchObject({ seed: 8, prompt: INPUT.prompt });
    const again = await (await post(front, input)).json();
    expect(result).toMatchObject({ image: again.image });
  });

  it("keeps a queued request that one gateway accepts, and the other one shows its result and its file", async () => {
    const [one, other] = await Promise.all(GATEWAYS.map((name) => compose().url(name, 8080)));
    const accepted = await post(`${one!}/queue/local/sdxl`, { ...INPUT, sync_mode: false });
    expect(accepted.status).toBe(200);
    const { request_id: id } = Accepted.parse(await accepted.json());
    const result = await eventually(async () => {
      const response = await fetch(`${other!}/queue/local/sdxl/requests/${id}`);
      if (response.status !== 200) throw new Error(`the result answered ${response.status}`);
      return Result.parse(await response.json());
    }, START_TIMEOUT_MS);
    const file = await fetch(new URL(new URL(result.image.url).pathname, other));
    expect([file.status, file.headers.get("content-type")]).toEqual([200, result.image.content_type]);
    expect((await file.arrayBuffer()).byteLength).toBeGreaterThan(100);
  });

  it("tells an operator what it consists of", async () => {
    const said = await compose().run("run", "--rm", "init", "cluster", "status");
    expect(said).toMatch(/node-[12]/);
  });
});
