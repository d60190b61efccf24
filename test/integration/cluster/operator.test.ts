import { describe, expect, it } from "vitest";
import { runCommandLine } from "../../../src/cli.ts";
import { openTerminal } from "../../../src/cli/terminal.ts";
import { Layout } from "../../../src/cluster/layout.ts";
import { NatsBus } from "../../../src/cluster/nats/bus.ts";
import { FleetStateStore } from "../../../src/cluster/storage/state-store.ts";
import { WIRE_VERSION } from "../../../src/cluster/wire.ts";
import { request } from "../../contract/store-under-test.ts";
import { modelInfo } from "../../support/builders.ts";
import { eventually } from "../../support/eventually.ts";
import { NatsCluster, natsClusterForThisFile } from "../../support/nats-cluster.ts";

interface Ran {
  readonly result: string;
  readonly out: string;
  readonly err: string;
}

async function latentcast(
  args: readonly string[],
  env: Readonly<Record<string, string>> = {},
  signal = new AbortController().signal,
): Promise<Ran> {
  let [out, err] = ["", ""];
  const terminal = openTerminal({ write: (text) => (out += text) }, { write: (text) => (err += text) }, {});
  const folders = { LATENTCAST_DATA_DIR: "/nowhere", LATENTCAST_CACHE_DIR: "/nowhere" };
  const result = await runCommandLine({ args, env: { ...folders, ...env }, terminal, signal });
  return { result, out, err };
}

/** Says once in a while that it is there, as nodes do. */
function node(bus: NatsBus, layout: Layout, facts: Readonly<Record<string, unknown>>): { stop(): void } {
  const beat = {
    v: WIRE_VERSION,
    kind: "node",
    name: "n1",
    incarnation: "1",
    version: "1",
    pool: "default",
    reason: null,
  };
  const idle = { fingerprint: null, serving: null, slots: 1, devices: [], held: [] };
  const timer = setInterval(() => bus.publish(layout.heartbeat, { ...beat, ...idle, ...facts }), 100);
  return { stop: () => clearInterval(timer) };
}

const cluster = natsClusterForThisFile();
const settings = (name: string) => ({ LATENTCAST_NATS_URL: cluster().url, LATENTCAST_CLUSTER: name });

// Each test has a fleet of its own, and listens for heartbeats for most of its time.
describe.concurrent("latentcast cluster", () => {
  it("init makes everything once, and changes what a later version wants otherwise", async () => {
    const [first, second] = [
      await latentcast(["cluster", "init"], settings("a")),
      await latentcast(["cluster", "init"], settings("a")),
    ];
    expect(first).toMatchObject({ result: "done", err: "" });
    const lines = first.out.trim().split("\n");
    expect(lines).toContain("made       stream A_STATE");
    expect(lines).toContain("made       consumer A_TICKETS default-n");
    expect(second.out.trim().split("\n")).toEqual(lines.map((line) => line.replace("made     ", "unchanged")));
    const larger = { ...settings("a"), LATENTCAST_STORE_LIMIT_BYTES: String(20 * 2 ** 30) };
    const third = await latentcast(["cluster", "init", "--pool", "default,second"], larger);
    expect(third.out).toContain("changed    stream A_FILES (max_bytes)");
    expect(third.out).toContain("unchanged  consumer A_TICKETS default-l");
    expect(third.out).toContain("made       consumer A_TICKETS second-l");
  });

  it("status says that there is nothing yet, and what to do", async () => {
    const { result, out } = await latentcast(["cluster", "status"], settings("b"));
    expect(result).toBe("failed");
    expect(out).toMatch(/^wrong +stream B_STATE: .+; run `latentcast cluster init`$/m);
  });

  it("status shows nodes and work, and fails when something is wrong", { timeout: 60_000 }, async () => {
    await latentcast(["cluster", "init", "--pool", "default,old"], settings("c"));
    const layout = new Layout({ cluster: "c" });
    const bus = await NatsBus.connect({ urls: cluster().urls, inbox: "_INBOX", name: "test" });
    const monitor = cluster()
      .servers.map(({ monitorUrl }) => monitorUrl)
      .join(",");
    const run = (): Promise<Ran> => latentcast(["cluster", "status", "--monitor", monitor], settings("c"));
    const lonely = await run();
    expect(lonely).toMatchObject({ result: "failed" });
    expect(lonely.out).toContain("wrong      no node is ready to draw");

    const requests = new FleetStateStore({ bus, layout, keepMs: 60_000 });
    for (const id of ["1", "2"]) await requests.accept(request(id));
    await requests.claim("2", "1@n1", 60_000);
    const empty = Buffer.alloc(0);
    await bus.put(layout.streams.tickets, layout.ticket("default", "n", "1"), {}, empty, { id: "1.1" });
    const serving = { model: modelInfo({ id: "retired" }), preview_decoders: [] };
    const record = { v: WIRE_VERSION, fingerprint: "x", serving };
    await bus.put(layout.streams.state, layout.pool("old"), record, empty, { id: "pool" });
    const ready = node(bus, layout, { state: "ready" });
    const stranger = node(bus, layout, { v: WIRE_VERSION + 1, name: "n2", version: "9.0.0", state: "ready" });
    const deserted = await run();
    stranger.stop();
    expect(deserted.out).toContain("pool       old: 0 waiting, 0 taken, 0 node(s), retired");
    expect(deserted.out).toContain("wrong      no node of pool old takes work");
    expect(deserted.out).toContain("wrong      n2 is of release 9.0.0, which speaks version 2 of the fleet's messages");
    expect(await latentcast(["cluster", "forget", "--pool", "old"], settings("c"))).toMatchObject({ result: "done" });
    const well = await run();
    ready.stop();
    expect(well.out).not.toContain("old");
    expect(well).toMatchObject({ result: "done", err: "" });
    expect(well.out).toContain("node       n1: ready, pool default, no model yet, 0 device(s), 0 job(s)");
    expect(well.out).toContain("pool       default: 1 waiting, 0 taken, 1 node(s), no model yet");
    expect(well.out).toContain("requests   1 queued, 1 running, 0 ended");
    expect(well.out).toContain("all is well");

    const faulty = node(bus, layout, { state: "mismatch", reason: "another model" });
    const json = await latentcast(["cluster", "status", "--json"], settings("c"));
    faulty.stop();
    expect(json.result).toBe("failed");
    expect(JSON.parse(json.out)).toMatchObject({
      requests: { queued: 1, running: 1, ended: 0 },
      problems: ["no node is ready to draw", "node n1 takes no work (mismatch): another model"],
    });
    await bus.close();
  });

  it("status names servers that answer before they have written to the disk", async () => {
    await using lax = await NatsCluster.start({ size: 1, syncInterval: "2m" });
    const env = { LATENTCAST_NATS_URL: lax.url, LATENTCAST_CLUSTER_REPLICAS: "1" };
    await latentcast(["cluster", "init"], env);
    const monitors = `${lax.server(0).monitorUrl}, http://127.0.0.1:1`;
    const { out } = await latentcast(["cluster", "status", "--monitor", monitors], env);
    expect(out).toContain("wrong      --monitor: http://127.0.0.1:1 is no NATS server's page for operators");
    expect(out).toMatch(
      /^wrong +the NATS server at http:\S+ may lose what it confirmed in the last 120 s .+ sync_interval/m,
    );
  });

  it("init asks for no key of callers, whatever address a server beside it listens on", async () => {
    const { result, err } = await latentcast(["cluster", "init"], { ...settings("e"), LATENTCAST_HOST: "0.0.0.0" });
    expect([result, err]).toEqual(["done", ""]);
  });

  it("permissions prints lines for the servers' configuration, without asking them", async () => {
    const { result, out } = await latentcast(["cluster", "permissions"], { LATENTCAST_CLUSTER: "x" });
    expect(result).toBe("done");
    expect(out).toContain('user: "x-gateway", password: $X_GATEWAY_PASSWORD');
    expect(out).toContain('user: "x-node", password: $X_NODE_PASSWORD');
  });

  it("permissions gives the nodes of each pool that is named a user, and asks no environment for one", async () => {
    const { out } = await latentcast(["cluster", "permissions", "--pool", "a,b-c"], { LATENTCAST_POOL: "d" });
    const users = [...out.matchAll(/user: "([^"]+)", password: (\S+)/g)].map(([, ...found]) => found.join(" "));
    expect(users).toEqual([
      "lc-gateway $LC_GATEWAY_PASSWORD",
      "lc-node-a $LC_NODE_A_PASSWORD",
      "lc-node-b-c $LC_NODE_B_C_PASSWORD",
      "lc-server $LC_SERVER_PASSWORD",
      "lc-operator $LC_OPERATOR_PASSWORD",
    ]);
    const shared = await latentcast(["cluster", "permissions"], { LATENTCAST_POOL: "d" });
    expect(shared.out).toContain('user: "lc-node", ');
  });

  it.each([
    [["cluster"], "say what to do: latentcast cluster init|status|permissions"],
    [["cluster", "destroy"], "say what to do: latentcast cluster init|status|permissions"],
    [["cluster", "init"], "--nats: name the NATS servers, or set LATENTCAST_NATS_URL"],
    [
      ["cluster", "init", "--nats", "127.0.0.1:1", "--pool", "a b"],
      '--pool: use up to 32 of a-z, 0-9, _ and - (got "a b")',
    ],
    [["cluster", "init", "--nats", "127.0.0.1:1", "--pool", "a,B"], '--pool: "B" is no name of a pool'],
    [["cluster", "forget", "--nats", "127.0.0.1:1"], "say which pools are to be forgotten: --pool"],
    [["cluster", "status", "--nats", "127.0.0.1:1"], "--nats: no NATS server answers at 127.0.0.1:1"],
  ])("says in one line what is wrong with %j", async (args, sentence) => {
    const { result, err } = await latentcast(args);
    expect(result).toBe("misused");
    expect(err).toContain(`latentcast: ${sentence}`);
    expect(err.trim().split("\n")).toHaveLength(1);
  });
});

describe("latentcast cluster", () => {
  it("status that is interrupted says nothing of those whom it has not heard yet", async () => {
    const ran = await latentcast(["cluster", "status"], settings("e"), AbortSignal.abort());
    expect(ran).toEqual({ result: "interrupted", out: "", err: "" });
  });

  it("status names a server that is away, and says in one line when most are", { timeout: 120_000 }, async () => {
    await latentcast(["cluster", "init"], settings("d"));
    const server = cluster().server(2);
    await server.kill();
    await eventually(async () => {
      const { result, out } = await latentcast(["cluster", "status"], settings("d"));
      expect(result).toBe("failed");
      expect(out).toMatch(/^wrong +NATS server \S+ is away: /m);
    });
    const second = cluster().server(1);
    await second.kill();
    // A leader without its followers answers for some seconds more, so what the first question is that nobody answers may differ.
    await eventually(async () => {
      const most = await latentcast(["cluster", "status"], settings("d"));
      expect(most.result).toBe("failed");
      expect(
        most.out.match(/^wrong .+: the NATS servers do not answer, or have no majority; more than half/gm),
      ).toHaveLength(1);
    });
    const refused = await latentcast(["cluster", "init"], settings("d"));
    expect(refused).toMatchObject({ result: "misused", out: "" });
    expect(refused.err).toMatch(/^latentcast: --nats: the NATS servers do not answer, or have no majority; .+\n$/);
    server.start();
    second.start();
    await cluster().ready();
  });
});
