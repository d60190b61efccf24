/** Requests that want to become a socket, and how routes are marked that only those reach. */
import type { IncomingMessage } from "node:http";
import type { FastifyServerOptions } from "fastify";

type Strategy = NonNullable<NonNullable<FastifyServerOptions["routerOptions"]>["constraints"]>[string];
type Handler = Parameters<ReturnType<Strategy["storage"]>["set"]>[1];

const WEBSOCKET = "websocket";

export function wantsSocket({ method, headers }: Pick<IncomingMessage, "method" | "headers">): boolean {
  return method === "GET" && headers.upgrade?.toLowerCase() === WEBSOCKET;
}

/** The constraints of a route for sockets: to any other `GET` it does not exist. */
export const FOR_SOCKETS = { upgrade: WEBSOCKET };

export const SOCKET_CONSTRAINT: Strategy = {
  name: "upgrade",
  storage: () => {
    const handlers = new Map<unknown, Handler>();
    return {
      get: (value) => handlers.get(value) ?? null,
      set: (value, handler) => {
        handlers.set(value, handler);
      },
    };
  },
  deriveConstraint: (request) => (wantsSocket(request) ? WEBSOCKET : ""),
};
