/**
 * Tells the name of a model from other addresses. A name has two parts, `owner/alias`, or three below a namespace of fal's;
 * whatever follows (`/stream`, `/image-to-image`) is not part of it. Any name is taken, since one model is loaded, but for what other
 * programs mean by an address: those would draw for a request in another API's shape, and answer in the wrong one.
 */

/** Names that start with one of these have three parts. */
const NAMESPACES = new Set(["workflows", "comfy"]);

/** First parts that lead elsewhere: paths of this server, then roots of other programs' APIs. */
const NOT_OWNERS = new Set([
  ...[
    "queue",
    "rest",
    "requests",
    "files",
    "fal",
    "api",
    "docs",
    "assets",
    "health",
    "ready",
    "metrics",
    "stream",
    "realtime",
  ],
  ...[
    "sdapi",
    "controlnet",
    "adetailer",
    "internal",
    "openai",
    "ollama",
    "chat",
    "completions",
    "embeddings",
    "images",
  ],
  ...["audio", "models", "predictions", "deployments", "invocations", "upload", "prompt", "history", "view", "graphql"],
  ...["wp-json", "wp-admin", "wp-content", "wp-includes", "cgi-bin", "actuator", "tokens", "login", "rpc", "ws"],
]);

/** `v1`, `v2.1`, `v1beta1`: the versions that APIs put first. */
const VERSION = /^v\d+([.a-z]\w*)?$/i;
const PART = /^[a-z\d][\w.-]*$/i;

/**
 * @param path Without the queue's prefix, such as `owner/alias/stream`.
 * @returns Undefined if that is the address of no model.
 */
export function modelName(path: string): string | undefined {
  const parts = path.split("/").filter((part) => part !== "");
  const [first = ""] = parts;
  const name = parts.slice(0, NAMESPACES.has(first) ? 3 : 2);
  if (name.length < (NAMESPACES.has(first) ? 3 : 2)) return undefined;
  if (NOT_OWNERS.has(first.toLowerCase()) || VERSION.test(first) || !name.every((part) => PART.test(part)))
    return undefined;
  return name.join("/");
}
