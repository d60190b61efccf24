import pino from "pino";
import { describe, expect, it } from "vitest";
import { Disposers } from "../../../src/async/disposers.ts";
import { BusForbidden, type Bus } from "../../../src/cluster/bus.ts";
import { FleetObjectStore } from "../../../src/cluster/storage/file-store.ts";
import { Layout, type Role } from "../../../src/cluster/layout.ts";
import { NatsBus } from "../../../src/cluster/nats/bus.ts";
import { openBus } from "../../../src/cluster/open-bus.ts";
import { initFleet } from "../../../src/cluster/operator/operator.ts";
import {
  fleetUsers,
  passwordVariable,
  serverConfiguration,
  userName,
  type FleetUser,
} from "../../../src/cluster/operator/permissions.ts";
import { sharedSigningKey } from "../../../src/cluster/storage/shared-key.ts";
import { FleetStateStore } from "../../../src/cluster/storage/state-store.ts";
import { loadConfig } from "../../../src/config.ts";
import { connectToFleet } from "../../../src/runtime/fleet.ts";
import { ended, request } from "../../contract/store-under-test.ts";
import { eventually } from "../../support/eventually.ts";
import { natsClusterForThisFile } from "../../support/nats-cluster.ts";

const EMPTY = Buffer.alloc(0);
const KEEP_MS = 600_000;
const layout = new Layout();

/** Lines for the servers' configuration, where everybody's password is its name. */
function configuration(users: readonly FleetUser[]): string {
  const passwords = users.map((user) => `${passwordVariable(layout, user)}: ${userName(layout, user)}`);
  return [...passwords, serverConfiguration(layout, users)].join("\n");
}

function urlsOf(urls: readonly string[], user: FleetUser): string[] {
  const name = userName(layout, user);
  return urls.map((url) => url.replace("//", `//${name}:${name}@`));
}

const fleetConfig = (urls: readonly string[], env: Readonly<Record<string, string>> = {}) =>
  loadConfig({
    env: { LATENTCAST_DATA_DIR: "/x", LATENTCAST_CACHE_DIR: "/x", LATENTCAST_NATS_URL: urls.join(","), ...env },
  });

const refused = async (work: () => Promise<unknown>): Promise<void> =>
  expect(
    await work().then(
      () => "allowed",
      (error: unknown) => error,
    ),
  ).toBeInstanceOf(BusForbidden);

describe("the permissions of a fleet's roles, on real servers", () => {
  const cluster = natsClusterForThisFile({ extra: configuration(fleetUsers()) });
  const urls = (role: Role): string[] => urlsOf(cluster().urls, { role });

  const problems: string[] = [];
  const connect = (role: Role, inbox = layout.inbox(role)): Promise<NatsBus> =>
    NatsBus.connect({ urls: urls(role), inbox, name: role, warn: (text) => problems.push(text) });

  const stores = (bus: Bus) => {
    const options = { bus, layout, keepMs: KEEP_MS };
    return { requests: new FleetStateStore(options), objects: new FleetObjectStore(options) };
  };

  it("let gateways and nodes do their work, and nothing else", { timeout: 120_000 }, async () => {
    await initFleet(fleetConfig(urls("operator")), ["default"]);
    const [gateway, node, server] = await Promise.all([connect("gateway"), connect("node"), connect("server")]);
    const { streams } = layout;

    // A durable request, from its acceptance to its webhook.
    const [front, back] = [stores(gateway), stores(node)];
    const files = { image: Buffer.alloc(600_000), mask: null };
    await front.requests.accept(request("1", { webhookUrl: "http://hook/" }), undefined, files);
    await gateway.put(streams.tickets, layout.ticket("default", "n", "1"), {}, EMPTY, { id: "1.1" });
    const taken = (await node.pull(layout.tickets("default", "n"), { expiresMs: 20_000 }))!;
    expect(await back.requests.inputFiles("1")).toEqual(files);
    const claim = await back.requests.claim("1", "1@node", 60_000);
    if (typeof claim === "string") throw new Error(claim);
    const renewed = await back.requests.renew(claim, 60_000);
    if (renewed === "lost") throw new Error("lost");
    await back.objects.put({ key: "a.png", contentType: "image/png" }, Buffer.alloc(600_000));
    expect(await back.requests.end(renewed, ended(1, 100_000))).toBe(true);
    taken.working();
    await taken.ack();
    const due = (await front.requests.nextWebhook(AbortSignal.timeout(20_000)))!;
    await front.requests.settleWebhook(due, null);
    expect((await front.requests.ended("1"))?.body).toEqual(ended(1, 100_000).body);
    expect(await front.objects.find("a.png")).toMatchObject({ sizeBytes: 600_000 });
    expect(Buffer.concat(await (await front.objects.open("a.png")).toArray())).toHaveLength(600_000);
    for (const store of [front, back]) {
      await store.requests.expire();
      await store.requests.sweep();
      for await (const state of store.requests.watch(AbortSignal.timeout(60_000))) if (state === "caught-up") break;
    }
    await front.objects.remove(["a.png"]);

    // What they say to each other.
    await node.put(streams.state, layout.pool("default"), {}, EMPTY, { id: "pool" });
    const records = { signal: AbortSignal.timeout(60_000), headersOnly: true };
    const pools: string[] = [];
    for await (const stored of gateway.watch(streams.state, layout.everyPool, records)) {
      if (stored === "caught-up") break;
      pools.push(layout.poolAt(stored.subject));
    }
    expect(pools).toEqual(["default"]);
    await gateway.put(streams.state, layout.death("node", "1"), {}, EMPTY, { expected: 0, id: "death" });
    gateway.subscribe(layout.everythingTo("g1"), ({ reply }) => reply({ verdict: "go" }));
    gateway.subscribe(layout.inputsOf("g1"), ({ reply }) => reply({}, Buffer.from("image")));
    gateway.subscribe(layout.checks("g1"), ({ reply }) => reply({}));
    node.subscribe(layout.toNode("node", "feed"), ({ reply }) => reply({ fed: true }));
    const heard: string[] = [];
    for (const subject of [layout.events("1"), layout.heartbeat])
      gateway.subscribe(subject, ({ subject: at }) => heard.push(at));
    for (const subject of [layout.cancel, layout.heartbeat])
      node.subscribe(subject, ({ subject: at }) => heard.push(at));
    const ask = (bus: Bus, subject: string) => eventually(() => bus.request(subject, {}, { timeoutMs: 5_000 }));
    expect((await ask(node, layout.toGateway("g1", "1"))).header).toEqual({ verdict: "go" });
    expect((await ask(node, layout.inputsOf("g1"))).payload.toString()).toBe("image");
    expect((await ask(node, layout.checks("g1"))).header).toEqual({});
    expect((await ask(gateway, layout.toNode("node", "feed"))).header).toEqual({ fed: true });
    await eventually(() => {
      node.publish(layout.events("1"), {});
      node.publish(layout.heartbeat, {});
      gateway.publish(layout.cancel, {});
      gateway.publish(layout.heartbeat, {});
      expect(new Set(heard)).toEqual(new Set([layout.events("1"), layout.heartbeat, layout.cancel]));
    });
    const keys = await Promise.all([gateway, server].map((bus) => sharedSigningKey(bus, layout)));
    expect(keys[0]?.publicKeys).toEqual(keys[1]?.publicKeys);
    gateway.nakAt(taken.ackSubject);
    await gateway.pending(layout.tickets("default", "n"));
    expect(problems).toEqual([]);

    // What they must not.
    await refused(() => node.get(streams.secrets, layout.secret("webhook-key")));
    await refused(() => node.get(streams.tickets, layout.ticket("default", "n", "1")));
    await refused(() => node.get(streams.hooks, layout.hook("1")));
    await refused(() => node.put(streams.secrets, layout.secret("x"), {}, EMPTY, { id: "x" }));
    await refused(() => node.put(streams.tickets, layout.ticket("default", "n", "2"), {}, EMPTY, { id: "x" }));
    await refused(() => node.put(streams.state, layout.death("other", "1"), {}, EMPTY, { id: "x" }));
    await refused(() => gateway.put(streams.state, layout.pool("other"), {}, EMPTY, { id: "x" }));
    await refused(() => gateway.purge(streams.tickets, layout.ticket("default", "n", "1")));
    await gateway.put(streams.tickets, layout.ticket("default", "n", "3"), {}, EMPTY, { id: "3.1" });
    expect(await gateway.pull(layout.tickets("default", "n"), { expiresMs: 500 })).toBeUndefined();
    expect(await node.pull(layout.tickets("default", "n"), { expiresMs: 20_000 })).toBeDefined();
    expect(await node.pull(layout.hooks, { expiresMs: 500 })).toBeUndefined();
    const before = problems.length;
    node.subscribe(`${layout.inbox("gateway")}.>`, () => undefined);
    await eventually(() => expect(problems.length).toBeGreaterThan(before));
    await Promise.all([gateway, node, server].map((bus) => bus.close()));
  });

  it("allow nobody who does not say who they are", async () => {
    await expect(NatsBus.connect({ urls: cluster().urls, inbox: "_INBOX", name: "x" })).rejects.toThrow(
      "refuses the credentials",
    );
  });
});

describe("the permissions of nodes that have a user for each pool, on a real server", () => {
  const pools = ["default", "anime"];
  const cluster = natsClusterForThisFile({ size: 1, extra: configuration(fleetUsers(pools)) });

  it("let a node take the work of its pool, and nothing of another", async () => {
    const replicas = { LATENTCAST_CLUSTER_REPLICAS: "1" };
    await initFleet(fleetConfig(urlsOf(cluster().urls, { role: "operator" }), replicas), pools);
    const problems: string[] = [];
    const connect = (user: FleetUser): Promise<Bus> => {
      const config = fleetConfig(urlsOf(cluster().urls, user), { LATENTCAST_POOL: user.pool ?? "default" });
      return openBus({ config, layout, role: user.role, warn: (text) => void problems.push(text) });
    };
    const [gateway, anime, other] = await Promise.all([
      connect({ role: "gateway" }),
      connect({ role: "node", pool: "anime" }),
      connect({ role: "node", pool: "default" }),
    ]);
    const { streams } = layout;
    const put = (pool: string, id: string): Promise<number> =>
      gateway.put(streams.tickets, layout.ticket(pool, "n", id), {}, EMPTY, { id });
    await Promise.all([put("anime", "a"), put("default", "b")]);

    const own = (await anime.pull(layout.tickets("anime", "n"), { expiresMs: 20_000 }))!;
    own.working();
    await own.ack();
    await anime.pending(layout.tickets("anime", "l"));
    await anime.put(streams.state, layout.pool("anime"), {}, EMPTY, { id: "pool" });
    const requests = new FleetStateStore({ bus: anime, layout, keepMs: KEEP_MS });
    await new FleetStateStore({ bus: gateway, layout, keepMs: KEEP_MS }).accept(request("1"));
    expect(await requests.claim("1", "1@anime", 60_000)).toMatchObject({ attempt: 1 });
    expect(problems.filter((text) => text.includes("ermission"))).toEqual([]);

    expect(await anime.pull(layout.tickets("default", "n"), { expiresMs: 500 })).toBeUndefined();
    const others = (await other.pull(layout.tickets("default", "n"), { expiresMs: 20_000 }))!;
    expect(others.deliveries).toBe(1);
    await refused(() => anime.pending(layout.tickets("default", "n")));
    await refused(() => anime.put(streams.state, layout.pool("default"), {}, EMPTY, { id: "x" }));
    await refused(() => anime.get(streams.tickets, layout.ticket("default", "n", "b")));
    const forbidden = async (what: string, work: () => void): Promise<void> => {
      work();
      await eventually(() => expect(problems.filter((text) => text.includes(what))).not.toEqual([]));
    };
    await forbidden(others.ackSubject, () => anime.nakAt(others.ackSubject));
    const inbox = `${layout.inbox("node", "default")}.>`;
    await forbidden(inbox, () => anime.subscribe(inbox, () => undefined));
    await others.ack();
    await Promise.all([gateway, anime, other].map((bus) => bus.close()));
  });

  it("are told in one sentence to a node that was given those of another pool", async () => {
    const urls = urlsOf(cluster().urls, { role: "node", pool: "anime" });
    const config = fleetConfig(urls, { LATENTCAST_ROLE: "node" });
    const open = new Disposers();
    await expect(connectToFleet(config, { log: pino({ level: "silent" }), open, observer: {} })).rejects.toThrow(
      "--nats: these credentials are not for the pool default of a fleet lc; ",
    );
    await open.close();
  });
});
