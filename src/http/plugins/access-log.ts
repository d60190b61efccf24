/** One line per request: what was asked, how it ended, how long it took. Never bodies, queries or keys. */
import type { FastifyInstance, FastifyRequest } from "fastify";

/** GETs are probes, polls and files: interesting only when one is searched for. */
function levelOf({ method }: FastifyRequest): "info" | "debug" {
  return method === "GET" || method === "OPTIONS" ? "debug" : "info";
}

export function logRequests(app: FastifyInstance): void {
  app.addHook("onResponse", async (request, reply) => {
    request.log[levelOf(request)](
      {
        method: request.method,
        path: request.url.split("?", 1)[0],
        route: request.routeOptions.url ?? null,
        caller: request.caller,
        status: reply.statusCode,
        // False when the client left before its answer was complete.
        complete: reply.raw.writableFinished,
        durationMs: Math.round(reply.elapsedTime),
      },
      "request",
    );
  });
}
