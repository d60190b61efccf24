/** Which addresses this server may call on behalf of a client. */
import ipaddr from "ipaddr.js";

/** `private`: this machine and the network around it. `forbidden`: addresses that no client can mean, and those that hand out secrets. */
export type Reach = "public" | "private" | "forbidden";

/** Carrier-grade NAT is the network of others, but never the open internet. */
const PRIVATE = new Set(["private", "loopback", "uniqueLocal", "carrierGradeNat"]);

/** @param address IPv4 or IPv6, without brackets. Anything else is forbidden. */
export function reachOf(address: string): Reach {
  // A zone (`fe80::1%eth0`) only exists for addresses of one link.
  if (!ipaddr.isValid(address)) return "forbidden";
  const parsed = innermost(ipaddr.parse(address));
  const range = parsed.range();
  if (range === "unicast") return "public";
  return PRIVATE.has(range) ? "private" : "forbidden";
}

/** The IPv4 address inside one that maps (`::ffff:1.2.3.4`) or translates it (`64:ff9b::1.2.3.4`, DNS64). */
function innermost(address: ipaddr.IPv4 | ipaddr.IPv6): ipaddr.IPv4 | ipaddr.IPv6 {
  if (!(address instanceof ipaddr.IPv6)) return address;
  if (address.isIPv4MappedAddress()) return address.toIPv4Address();
  if (address.range() === "rfc6052") return ipaddr.fromByteArray(address.toByteArray().slice(-4));
  return address;
}

/**
 * Ports of other protocols, which an HTTP request could be made to talk to: the "bad ports" of the fetch standard
 * (https://fetch.spec.whatwg.org/#port-blocking). Port 0 cannot be connected to.
 */
const BLOCKED_PORTS = new Set([
  0, 1, 7, 9, 11, 13, 15, 17, 19, 20, 21, 22, 23, 25, 37, 42, 43, 53, 69, 77, 79, 87, 95, 101, 102, 103, 104, 109, 110,
  111, 113, 115, 117, 119, 123, 135, 137, 139, 143, 161, 179, 389, 427, 465, 512, 513, 514, 515, 526, 530, 531, 532,
  540, 548, 554, 556, 563, 587, 601, 636, 989, 990, 993, 995, 1719, 1720, 1723, 2049, 3659, 4045, 4190, 5060, 5061,
  6000, 6566, 6665, 6666, 6667, 6668, 6669, 6679, 6697, 10080,
]);

export interface AddressRules {
  readonly allowPrivate: boolean;
}

/**
 * What is wrong with calling this URL, or undefined. Names are not looked up here: where they lead is checked by
 * {@link checkedLookup} when they are called.
 */
export function urlProblem(url: URL, { allowPrivate }: AddressRules): string | undefined {
  if (!/^https?:$/.test(url.protocol) || url.username !== "" || url.password !== "")
    return "must be an http or https URL without a user name";
  if (url.port !== "" && BLOCKED_PORTS.has(Number(url.port)))
    return `must not name port ${url.port}, which is not HTTP's`;
  const host = hostOf(url);
  const isName = !ipaddr.isValid(host);
  const reach = isName ? reachOfName(host) : reachOf(host);
  return reach === undefined ? undefined : reachProblem(reach, { allowPrivate });
}

/** What is wrong with calling an address of this reach, or undefined. */
export function reachProblem(reach: Reach, { allowPrivate }: AddressRules): string | undefined {
  if (reach === "forbidden") return "must not lead to a link-local, multicast, unspecified or reserved address";
  if (reach === "private" && !allowPrivate) return "must not lead to a private or loopback address";
  return undefined;
}

/** `URL` has turned decimal, octal and hexadecimal spellings into dotted ones already. */
export function hostOf(url: URL): string {
  return url.hostname.replace(/^\[|\]$/g, "");
}

/** Undefined where only a lookup can say. */
function reachOfName(host: string): Reach | undefined {
  return /(^|\.)localhost\.?$/i.test(host) ? "private" : undefined;
}
