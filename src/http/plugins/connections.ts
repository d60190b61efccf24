/** Connections cost file descriptors. Before they run out, new connections are refused so that open ones can be served. */
import { readFileSync } from "node:fs";
import type { FastifyInstance } from "fastify";

/** For workers, sockets between processes, the store, and files being read. */
const RESERVED = 128;
/** Even with a limit below the reserve some must get in. */
const FEWEST = 32;

/** Node closes connections beyond the limit as soon as it has accepted them. */
export function limitConnections(app: FastifyInstance, descriptors = descriptorLimit()): void {
  if (descriptors === undefined) return;
  app.server.maxConnections = Math.max(FEWEST, descriptors - RESERVED);
  app.server.on("drop", () => app.log.debug("a connection was turned away: too many are open"));
}

/** Undefined where it cannot be known: Linux has a file for it, and Node offers nothing elsewhere. */
function descriptorLimit(): number | undefined {
  try {
    const soft = /^Max open files\s+(\d+)/m.exec(readFileSync("/proc/self/limits", "utf8"))?.[1];
    return soft === undefined ? undefined : Number(soft);
  } catch {
    return undefined;
  }
}
