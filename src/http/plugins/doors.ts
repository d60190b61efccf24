/**
 * Keeps web pages out of a server without keys. With keys nothing is needed: no page knows one, and none can send one without a preflight.
 *
 * - A page of a stranger's domain that its DNS points at this machine (DNS rebinding) is same-origin to its browser; only `Host` shows it.
 * - Any page may send some requests, and open sockets, without asking first. Those say where they come from in `Sec-Fetch-Site` and
 *   `Origin`.
 */
import type { IncomingHttpHeaders } from "node:http";
import { isIP } from "node:net";
import type { FastifyInstance } from "fastify";
import ipaddr from "ipaddr.js";
import { isLoopback, type Config } from "../../config.ts";
import { LatentcastError } from "../../errors.ts";
import { wantsSocket } from "../upgrade.ts";

export type DoorOptions = Pick<Config, "host" | "publicUrl" | "allowedHosts" | "corsOrigins" | "apiKeys">;

const READ_ONLY = new Set(["GET", "HEAD", "OPTIONS"]);
const ALL_INTERFACES = new Set(["0.0.0.0", "::"]);

export function guardDoors(app: FastifyInstance, options: DoorOptions): void {
  if (options.apiKeys.length > 0) return;
  app.addHook("onRequest", async ({ method, headers, raw }) => {
    if (!isKnownHost(headers.host, options)) {
      throw new LatentcastError("forbidden", {
        message:
          "This server is not known by that name; LATENTCAST_ALLOWED_HOSTS or LATENTCAST_PUBLIC_URL can list it.",
      });
    }
    const isHarmless = READ_ONLY.has(method) && !wantsSocket(raw);
    if (!isHarmless && !isOwnOrListedPage(headers, options)) {
      throw new LatentcastError("forbidden", {
        message: "Pages of that origin may not call this server; LATENTCAST_CORS_ORIGINS can list it.",
      });
    }
  });
}

/** Two names would leave it to each reader which one counts. HTTP/1.0 has none; Node would refuse its lack in 1.1 without a body. */
export function requireOneHost(app: FastifyInstance): void {
  app.addHook("onRequest", async ({ raw }) => {
    const names = raw.rawHeaders.filter((text, index) => index % 2 === 0 && text.toLowerCase() === "host");
    if (names.length > 1 || (names.length === 0 && raw.httpVersion !== "1.0"))
      throw new LatentcastError("bad_request", { message: "The request needs one Host header." });
  });
}

/**
 * Names that no stranger can point at this machine: loopback, names without a dot (a container, a machine of this network; no public
 * domain has none), and what the settings list. A server for other machines is also known by any address: an address is never rebound,
 * and which ones lead here (ports published by a container, NAT) cannot be seen from inside.
 */
export function isKnownHost(
  header: string | undefined,
  { host: listening, publicUrl, allowedHosts }: Pick<DoorOptions, "host" | "publicUrl" | "allowedHosts">,
): boolean {
  // HTTP/1.0 has no such header; every browser sends it.
  if (header === undefined || header === "") return true;
  const name = hostName(header);
  if (name === undefined) return false;
  if (isLoopback(name) || name.endsWith(".localhost") || name === listening.toLowerCase()) return true;
  if (isIP(name) !== 0) return ALL_INTERFACES.has(listening) || allowedHosts.includes(name);
  if (!name.includes(".")) return true;
  return allowedHosts.includes(name) || (publicUrl !== null && name === new URL(publicUrl).hostname);
}

const HOST = /^([\w.-]+|\[[\da-f:.]+\])(:\d*)?$/i;

/** Lower case, without port, brackets and the root's dot, IPv4 in IPv6 as IPv4; undefined if it is not a host at all. */
function hostName(header: string): string | undefined {
  if (!HOST.test(header) || !URL.canParse(`http://${header}`)) return undefined;
  const { hostname } = new URL(`http://${header}`);
  const name = hostname.replace(/^\[|\]$/g, "").replace(/\.$/, "");
  return isIP(name) === 6 ? ipaddr.process(name).toString() : name;
}

/** True for everything that is no browser: only those send the two headers. */
export function isOwnOrListedPage(
  headers: Pick<IncomingHttpHeaders, "host" | "origin"> & IncomingHttpHeaders,
  { publicUrl, corsOrigins }: Pick<DoorOptions, "publicUrl" | "corsOrigins">,
): boolean {
  const { origin, host } = headers;
  const site = headers["sec-fetch-site"];
  // Behind a proxy that does not pass `Host` on, this header identifies our own page. A page cannot set it.
  if (site === "same-origin" || site === "none") return true;
  if (origin === undefined) return site === undefined;
  if (corsOrigins.includes("*") || corsOrigins.includes(origin)) return true;
  if (!URL.canParse(origin)) return false;
  const page = new URL(origin);
  const forwarded = headers["x-forwarded-host"]?.toString().split(",", 1)[0]?.trim();
  const isHere = (name: string | undefined): boolean => {
    // Proxies add the port that a browser leaves out: `Host: images.example:80`.
    const address = `${page.protocol}//${name}`;
    return name !== undefined && URL.canParse(address) && new URL(address).host === page.host;
  };
  return isHere(host) || isHere(forwarded) || (publicUrl !== null && page.origin === new URL(publicUrl).origin);
}
