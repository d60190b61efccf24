/** `GET /openapi.json`, and `GET /docs`: the same to read and try out, from files of its package alone. */
import swagger, { type StaticDocumentSpec } from "@fastify/swagger";
import swaggerUi from "@fastify/swagger-ui";
import type { FastifyInstance } from "fastify";
import { openApiDocument, type DocumentedRoute, type DocumentFacts } from "../../openapi/document.ts";

/** Nothing from elsewhere, and no page around it. Swagger UI sets styles on its elements and draws its icons from data URIs. */
const DOCS_POLICY = {
  "default-src": ["'none'"],
  "script-src": ["'self'"],
  "style-src": ["'self'", "'unsafe-inline'"],
  "img-src": ["'self'", "data:"],
  "font-src": ["'self'", "data:"],
  "connect-src": ["'self'"],
  "base-uri": ["'none'"],
  "form-action": ["'none'"],
  "frame-ancestors": ["'none'"],
};

/** To be called after every route that is documented. */
export async function openApiRoutes(
  app: FastifyInstance,
  routes: readonly DocumentedRoute[],
  facts: DocumentFacts,
): Promise<void> {
  const document = openApiDocument(routes, facts);
  // The types of the plugin end with OpenAPI 3.0; it passes the document on as it is.
  const specification = { document } as unknown as StaticDocumentSpec;
  await app.register(async (docs) => {
    // A browser opens a page without a key.
    docs.addHook("onRoute", (route) => {
      route.config = { ...route.config, isOpen: true };
    });
    docs.get("/openapi.json", () => document);
    await docs.register(swagger, { mode: "static", specification });
    await docs.register(swaggerUi, {
      routePrefix: "/docs",
      staticCSP: DOCS_POLICY,
      theme: { title: "Latentcast API" },
    });
  });
}
