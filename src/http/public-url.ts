/** How the client reaches this server: the start of every URL that is handed out. */
import type { FastifyRequest } from "fastify";

const HOST = /^[\w.-]+(:\d{1,5})?$|^\[[\da-f:.]+\](:\d{1,5})?$/i;

/**
 * Without a configured URL it is what the request itself says. A client that lies about it gets URLs that it cannot use;
 * nobody else ever sees them.
 */
export function publicUrl(request: FastifyRequest, configured: string | null): string {
  if (configured !== null) return configured.replace(/\/+$/, "");
  const { headers } = request;
  const host = [first(headers["x-forwarded-host"]), headers.host].find((name) => name !== undefined && HOST.test(name));
  const protocol = first(headers["x-forwarded-proto"]) === "https" ? "https" : request.protocol;
  return `${protocol}://${host ?? "localhost"}`;
}

/** Each proxy on the way appends its own; the first is what the client used. */
function first(header: string | string[] | undefined): string | undefined {
  return header?.toString().split(",", 1)[0]?.trim();
}
