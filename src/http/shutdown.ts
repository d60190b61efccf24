/**
 * Closing without waiting for idle sockets. Node counts a connection that has not sent a request yet as busy: browsers
 * and undici open such ones ahead of need, and each would hold up `server.close()` for a minute.
 */
import type { ServerResponse } from "node:http";
import type { FastifyInstance } from "fastify";
import { cutOff } from "./cut-off.ts";

export interface Shutdown {
  /** Stops listening, lets answers under way end for up to `patienceMs`, then cuts every connection. */
  close(patienceMs: number): Promise<void>;
}

export function trackShutdown(app: FastifyInstance): Shutdown {
  const underWay = new Set<ServerResponse>();
  let settled: (() => void) | undefined;
  app.addHook("onRequest", async (_request, reply) => {
    underWay.add(reply.raw);
    reply.raw.once("close", () => {
      underWay.delete(reply.raw);
      if (underWay.size === 0) settled?.();
    });
  });
  return {
    close: async (patienceMs) => {
      const closing = app.close();
      if (underWay.size > 0) {
        let timer: NodeJS.Timeout | undefined;
        await new Promise<void>((resolve) => {
          settled = resolve;
          timer = setTimeout(resolve, patienceMs);
        });
        clearTimeout(timer);
      }
      for (const response of underWay) cutOff(response);
      app.server.closeAllConnections();
      await closing;
    },
  };
}
