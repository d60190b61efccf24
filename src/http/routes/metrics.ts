/** `GET /metrics` for Prometheus, and the counting of what HTTP alone knows. */
import type { FastifyInstance } from "fastify";
import { documented } from "../documented.ts";
import { metricsOperation } from "../operations/service.ts";
import type { Metrics } from "../../observability/metrics.ts";

export function metricsRoutes(app: FastifyInstance, metrics: Metrics): void {
  app.addHook("onSend", async (_request, reply, payload) => {
    if (!String(reply.getHeader("content-type")).startsWith("text/event-stream")) return payload;
    metrics.sseClients.inc();
    reply.raw.once("close", () => metrics.sseClients.dec());
    return payload;
  });
  app.addHook("onResponse", async ({ method, routeOptions }, reply) => {
    // The route's pattern, never the path: labels with ids would grow without bound.
    const route = routeOptions.url ?? "none";
    metrics.httpRequest.observe({ method, route, status: reply.statusCode }, reply.elapsedTime / 1_000);
  });
  app.get("/metrics", documented(metricsOperation), async (_request, reply) =>
    reply.header("content-type", metrics.registry.contentType).send(await metrics.registry.metrics()),
  );
}
