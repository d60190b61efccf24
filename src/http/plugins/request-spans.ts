/** A span for every request that may make a job; its place in the trace travels on in the header that the routes read. */
import type { FastifyInstance, FastifyRequest } from "fastify";
import type { RequestSpan, Tracing } from "../../observability/tracing.ts";

/** The W3C trace context of a request: its sender's, or below its span where it is traced. */
export function traceparent({ headers }: FastifyRequest): string | null {
  const header = headers["traceparent"];
  return typeof header === "string" ? header : null;
}

export function traceRequests(app: FastifyInstance, tracing: Tracing): void {
  const spans = new WeakMap<FastifyRequest, RequestSpan>();
  app.addHook("onRequest", async (request) => {
    const { id, headers, method, routeOptions } = request;
    if (method !== "POST") return;
    const span = tracing.request({ id, method, route: routeOptions.url ?? "none", traceparent: traceparent(request) });
    headers["traceparent"] = span.traceparent;
    spans.set(request, span);
  });
  app.addHook("onResponse", async (request, { statusCode }) => spans.get(request)?.end(statusCode));
}
