/** From the address on the wire to the path that is routed. */
import type { IncomingMessage } from "node:http";
import type { FastifyInstance } from "fastify";
import { LatentcastError } from "../errors.ts";
import { routedUrl } from "./fal-target.ts";

/** One address for each queued request: clients put the queue's prefix and the model's name, with or without sub path, before it. */
const REQUEST_PATH = /^\/[^?]*?(\/requests\/[^?]*)$/;

type RawRequest = Pick<IncomingMessage, "url" | "headers">;

/**
 * An address that cannot be decoded is routed as text, so that its refusal passes every hook (request id, CORS, log): Fastify would
 * answer it before any of them.
 */
export function routedPath({ url = "/", headers }: RawRequest): string {
  if (!isDecodable(url)) return url.replaceAll("%", "%25");
  return shortRequestUrl(routedUrl({ url, host: headers.host, target: headers["x-fal-target-url"]?.toString() }));
}

/** To be called after the hooks that put headers on every answer. */
export function refuseUndecodable(app: FastifyInstance): void {
  app.addHook("onRequest", async ({ originalUrl }) => {
    if (!isDecodable(originalUrl))
      throw new LatentcastError("bad_request", { message: "The address is not valid percent-encoded UTF-8." });
  });
}

/** `/queue/owner/alias/requests/id/status?logs=1` to `/requests/id/status?logs=1`; anything else as it is. */
function shortRequestUrl(url: string): string {
  const at = url.indexOf("?");
  const path = at < 0 ? url : url.slice(0, at);
  const short = REQUEST_PATH.exec(path)?.[1];
  return short === undefined ? url : short + (at < 0 ? "" : url.slice(at));
}

function isDecodable(url: string): boolean {
  const [path = ""] = url.split("?", 1);
  try {
    decodeURIComponent(path);
    return true;
  } catch {
    return false;
  }
}
