/** Routes carry their OpenAPI operations; this collects them for the document. */
import type { FastifyInstance } from "fastify";
import type { DocumentedRoute } from "../openapi/document.ts";
import type { Operation } from "../openapi/operation.ts";

declare module "fastify" {
  interface FastifyContextConfig {
    /** Absent for other names of a documented route and for pages. */
    operation?: Operation;
  }
}

/** Route options. */
export function documented(operation: Operation): { config: { operation: Operation; isOpen: boolean } } {
  return { config: { operation, isOpen: operation.isOpen === true } };
}

/** To be called before the routes are added; the list is complete when the application is ready. */
export function collectOperations(app: FastifyInstance): readonly DocumentedRoute[] {
  const routes: DocumentedRoute[] = [];
  app.addHook("onRoute", ({ method, url, config }) => {
    const operation = config?.operation;
    if (operation !== undefined && typeof method === "string" && method !== "HEAD")
      routes.push({ method, path: url, operation });
  });
  return routes;
}
