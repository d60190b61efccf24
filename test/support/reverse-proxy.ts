/** Programs that people put in front of a server, as Debian ships them and with no more settings than they need. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { createServer, type AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { eventually } from "./eventually.ts";

export interface ReverseProxy extends AsyncDisposable {
  readonly url: string;
}

interface Addresses {
  /** Where it listens, such as `127.0.0.1:4711`. */
  readonly at: string;
  /** Host and port of the server behind it. */
  readonly upstream: string;
}

interface Program {
  readonly command: string;
  readonly args: readonly string[];
  readonly config: (addresses: Addresses) => string;
  /** Whether its client can see that the server has broken off an answer. */
  readonly passesBreaksOn: boolean;
}

const CONFIG = "config";

function nginx(location: string): Program {
  return {
    command: "nginx",
    args: ["-p", ".", "-c", CONFIG, "-e", "stderr"],
    config: ({ at, upstream }) => `
      daemon off;
      pid pid;
      events {}
      http {
        access_log off;
        ${["client_body", "proxy", "fastcgi", "uwsgi", "scgi"].map((name) => `${name}_temp_path ${name};`).join(" ")}
        map $http_upgrade $connection_upgrade { default upgrade; '' ''; }
        server { listen ${at}; location / { proxy_pass http://${upstream}; ${location} } }
      }`,
    passesBreaksOn: true,
  };
}

/** By the name that the reason of a skip has (scripts/lib/tally.ts), and what is special about it. */
export const REVERSE_PROXIES = {
  /** Speaks HTTP/1.0 to the server behind it. */
  nginx: nginx(""),
  /** As docs/deployment.md says. */
  "nginx with HTTP/1.1": nginx(`
    proxy_http_version 1.1;
    proxy_set_header Upgrade $http_upgrade;
    proxy_set_header Connection $connection_upgrade;
    proxy_set_header Host $host;
    proxy_set_header X-Forwarded-Proto $scheme;
    proxy_read_timeout 120s;
    client_max_body_size 64m;`),
  /** Without the option it notices only between two parts of an answer that its client has left. */
  HAProxy: {
    command: "haproxy",
    args: ["-db", "-f", CONFIG],
    config: ({ at, upstream }) => `
defaults
  mode http
  timeout connect 5s
  timeout client 60s
  timeout server 60s
  option abortonclose
frontend front
  bind ${at}
  default_backend back
backend back
  server one ${upstream}
`,
    passesBreaksOn: true,
  },
  Caddy: {
    command: "caddy",
    args: ["run", "--config", CONFIG, "--adapter", "caddyfile"],
    config: ({ at, upstream }) => `
{
  admin off
  auto_https off
}
http://${at} {
  reverse_proxy ${upstream}
}
`,
    // Debian 12 and Ubuntu 24.04 have 2.6.2, which ends such an answer as if it were whole: caddyserver/caddy#5952.
    passesBreaksOn: false,
  },
} satisfies Readonly<Record<string, Program>>;

export type ReverseProxyName = keyof typeof REVERSE_PROXIES;

/** Resolves when it passes requests on to the server at `upstreamUrl`, which must be up. */
export async function startReverseProxy(name: ReverseProxyName, upstreamUrl: string): Promise<ReverseProxy> {
  const { command, args, config } = REVERSE_PROXIES[name];
  const directory = await mkdtemp(join(tmpdir(), "latentcast-proxy-"));
  const at = `127.0.0.1:${await freePort()}`;
  await writeFile(join(directory, CONFIG), config({ at, upstream: new URL(upstreamUrl).host }));
  const child = spawn(command, args, {
    cwd: directory,
    // Caddy keeps its state in folders named by these.
    env: { ...process.env, HOME: directory, XDG_DATA_HOME: directory, XDG_CONFIG_HOME: directory },
    stdio: ["ignore", "pipe", "pipe"],
  });
  let said = "";
  for (const output of [child.stdout, child.stderr]) output.on("data", (chunk: Buffer) => (said += chunk.toString()));
  const exited = once(child, "exit");
  const stop = async (): Promise<void> => {
    child.kill("SIGTERM");
    await exited;
    await rm(directory, { recursive: true, force: true });
  };
  const url = `http://${at}`;
  try {
    await Promise.race([answers(url), exited.then(() => Promise.reject(new Error("it has ended")))]);
  } catch (cause) {
    await stop();
    throw new Error(`${name} does not pass requests on: ${said}`, { cause });
  }
  return { url, [Symbol.asyncDispose]: stop };
}

function answers(url: string): Promise<void> {
  return eventually(async () => {
    const { status } = await fetch(`${url}/health`);
    if (status !== 200) throw new Error(`answered ${status}`);
  });
}

/** One that was free a moment ago: these programs cannot be asked which one they were given. */
async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  // A listening TCP server has an address of this form.
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, "close");
  return port;
}
