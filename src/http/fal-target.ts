/**
 * fal's clients speak to a proxy by sending every call to one URL with the address they mean in `x-fal-target-url`. That address is
 * only ever read, never fetched: it becomes a path of this server.
 */

export interface Incoming {
  readonly url: string;
  readonly host: string | undefined;
  /** The `x-fal-target-url` header. */
  readonly target: string | undefined;
}

/** Where fal's library looks for a proxy by default, and a short name for the same. */
export const PROXY_PATHS = ["/fal", "/api/fal/proxy"];

/** What each of fal's hosts becomes here. The second name of each is the backup that newer clients try. */
const HOST_PREFIXES: Readonly<Record<string, string>> = {
  "fal.run": "",
  "falrun.com": "",
  "queue.fal.run": "/queue",
  "queue.falrun.com": "/queue",
  "rest.fal.ai": "/rest",
  "rest.alpha.fal.ai": "/rest",
};

/** The path (with query) that this server routes. A proxy path without a usable target stays as it is and answers 400 there. */
export function routedUrl({ url, host, target }: Incoming): string {
  const [path, query] = splitQuery(url);
  const proxy = PROXY_PATHS.find((prefix) => path === prefix || path.startsWith(`${prefix}/`));
  if (proxy === undefined) return host?.startsWith("queue.") === true ? withPrefix("/queue", url) : url;
  const rest = path.slice(proxy.length);
  if (rest !== "" && rest !== "/") return query === undefined ? rest : `${rest}?${query}`;
  return (target === undefined ? undefined : targetPath(target)) ?? url;
}

function targetPath(target: string): string | undefined {
  if (!URL.canParse(target)) return undefined;
  const { protocol, hostname, pathname, search } = new URL(target);
  const prefix = HOST_PREFIXES[hostname];
  if (protocol !== "https:" || prefix === undefined) return undefined;
  return `${prefix}${pathname}${search}`;
}

function withPrefix(prefix: string, url: string): string {
  return url.startsWith(`${prefix}/`) ? url : `${prefix}${url}`;
}

function splitQuery(url: string): [string, string | undefined] {
  const at = url.indexOf("?");
  return at < 0 ? [url, undefined] : [url.slice(0, at), url.slice(at + 1)];
}
