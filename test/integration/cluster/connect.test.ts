import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { createServer, type AddressInfo } from "node:net";
import { once } from "node:events";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { nkeys } from "@nats-io/transport-node";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { loadConfig, ConfigError } from "../../../src/config.ts";
import { Layout } from "../../../src/cluster/layout.ts";
import { openBus } from "../../../src/cluster/open-bus.ts";
import { selfSignedCertificate } from "../../support/certificate.ts";
import { NatsCluster, natsClusterForThisFile } from "../../support/nats-cluster.ts";

/** What the command line would print; "" for a connection. */
async function refusal(natsUrl: string, env: Readonly<Record<string, string>> = {}): Promise<string> {
  const config = loadConfig({
    env: { LATENTCAST_DATA_DIR: "/x", LATENTCAST_CACHE_DIR: "/x", LATENTCAST_NATS_URL: natsUrl, ...env },
  });
  try {
    const bus = await openBus({ config, layout: new Layout(), role: "server", warn: () => undefined });
    await bus.close();
    return "";
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    return error.message;
  }
}

/** Says what a server says first, and nothing more. */
async function serverThatSays(greeting: string): Promise<{ url: string; close(): void }> {
  const server = createServer((socket) => {
    socket.on("error", () => undefined);
    socket.write(greeting);
    socket.on("data", (data) => String(data).includes("PING") && socket.write("PONG\r\n"));
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return { url: `nats://127.0.0.1:${(server.address() as AddressInfo).port}`, close: () => server.close() };
}

const INFO = {
  server_id: "x",
  server_name: "old",
  host: "h",
  port: 1,
  headers: true,
  max_payload: 1_048_576,
  proto: 1,
  go: "go",
};

describe("the connection to NATS", () => {
  const cluster = natsClusterForThisFile({ size: 1 });
  let folder: string;
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), "latentcast-connect-"));
  });
  afterAll(() => rm(folder, { recursive: true, force: true }));

  it("is made where a server of today answers", async () => {
    expect(await refusal(cluster().url)).toBe("");
  });

  it("is refused in one sentence where nobody answers", async () => {
    const silent = await serverThatSays("");
    silent.close();
    expect(await refusal(silent.url)).toMatch(/^--nats: no NATS server answers at 127\.0\.0\.1:\d+ \(.+\)\.$/);
  });

  it("is refused where something else answers", async () => {
    const web = await serverThatSays("HTTP/1.1 400 Bad Request\r\n\r\n");
    expect(await refusal(web.url)).toMatch(/^--nats: no NATS server answers at .+\.$/);
    web.close();
  });

  it.each([
    [
      { ...INFO, version: "2.9.10", jetstream: true },
      /the server old at h:1 is NATS 2\.9\.10; 2\.12 or newer is needed\.$/,
    ],
    [{ ...INFO, version: "2.11.9", jetstream: true }, /is NATS 2\.11\.9; 2\.12 or newer is needed\.$/],
    [{ ...INFO, version: "2.15.1" }, /runs without JetStream; start it with --jetstream and a store_dir\.$/],
  ])("is refused by a server that cannot carry a fleet: %o", async (info, sentence) => {
    const server = await serverThatSays(`INFO ${JSON.stringify(info)}\r\n`);
    expect(await refusal(server.url)).toMatch(sentence);
    server.close();
  });

  it("is refused without JetStream by a real server too", async () => {
    await using plain = await NatsCluster.start({ size: 1, hasJetStream: false });
    expect(await refusal(plain.url)).toMatch(/runs without JetStream/);
  });

  it("is refused where the credentials are, and names the settings that hold them", async () => {
    const accounts = `accounts { A { jetstream: enabled, users: [{ user: a, password: right }] } }`;
    await using guarded = await NatsCluster.start({ size: 1, extra: accounts });
    const { port } = guarded.server(0);
    const sentence = /refuses the credentials; check LATENTCAST_NATS_CREDS, or user and password in the address\.$/;
    expect(await refusal(`nats://127.0.0.1:${port}`)).toMatch(sentence);
    expect(await refusal(`nats://a:wrong@127.0.0.1:${port}`)).toMatch(sentence);
    expect(await refusal(`nats://a:wrong@127.0.0.1:${port}`)).not.toContain("wrong");
    expect(await refusal(`nats://a:right@127.0.0.1:${port}`)).toBe("");
  });

  it("is made with the seed of a user's key alone, where the servers list its public half", async () => {
    const [key, stranger] = [nkeys.createUser(), nkeys.createUser()];
    const accounts = `accounts { A { jetstream: enabled, users: [{ nkey: ${key.getPublicKey()} }] } }`;
    await using guarded = await NatsCluster.start({ size: 1, extra: accounts });
    const url = `nats://127.0.0.1:${guarded.server(0).port}`;
    const file = join(folder, "seed");
    await writeFile(file, `${Buffer.from(key.getSeed()).toString()}\n`);
    expect(await refusal(url, { LATENTCAST_NATS_CREDS: file })).toBe("");
    await writeFile(file, stranger.getSeed());
    expect(await refusal(url, { LATENTCAST_NATS_CREDS: file })).toMatch(/refuses the credentials/);
  });

  it("is refused where files that it is given cannot be read", async () => {
    expect(await refusal(cluster().url, { LATENTCAST_NATS_CREDS: "/nowhere/x.creds" })).toBe(
      "LATENTCAST_NATS_CREDS: /nowhere/x.creds cannot be read (ENOENT).",
    );
    const noCreds = join(folder, "not.creds");
    await writeFile(noCreds, "nothing of the kind");
    expect(await refusal(cluster().url, { LATENTCAST_NATS_CREDS: noCreds })).toMatch(
      /^LATENTCAST_NATS_CREDS: .+ is no/,
    );
    expect(await refusal(cluster().url, { LATENTCAST_NATS_CA: "/nowhere/ca.pem" })).toMatch(/^LATENTCAST_NATS_CA: /);
  });

  it("to another machine is refused without TLS", async () => {
    expect(await refusal("nats://gpu.example:4222")).toBe(
      "--nats: gpu.example:4222 is on another machine, so it must be reached over TLS: write tls:// or set LATENTCAST_NATS_CA.",
    );
  });

  it("over TLS is made with the authority that signs, and refused with any other", { timeout: 60_000 }, async () => {
    const [certificate, other] = [selfSignedCertificate(), selfSignedCertificate()];
    const path = (name: string): string => join(folder, name);
    await writeFile(path("key.pem"), certificate.key);
    await writeFile(path("cert.pem"), certificate.cert);
    await writeFile(path("other.pem"), other.cert);
    const tls = `tls { cert_file: "${path("cert.pem")}", key_file: "${path("key.pem")}" }`;
    await using secured = await NatsCluster.start({ size: 1, extra: tls });
    const url = `tls://localhost:${secured.server(0).port}`;
    expect(await refusal(url, { LATENTCAST_NATS_CA: path("cert.pem") })).toBe("");
    const sentence = /^--nats: TLS with localhost:\d+ failed \(.+\); check LATENTCAST_NATS_CA\.$/;
    expect(await refusal(url, { LATENTCAST_NATS_CA: path("other.pem") })).toMatch(sentence);
    expect(await refusal(url)).toMatch(sentence);
    expect(await refusal(cluster().url.replace("nats:", "tls:"))).toMatch(
      /^--nats: TLS with .+ failed .+; give the server a `tls` block; /,
    );
  });
});
