/** `GET /openapi.json`, and `GET /docs`: the same to read and try out. Both are made when somebody asks for them: few ever do. */
import Fastify, { type FastifyInstance } from "fastify";
import type { StaticDocumentSpec } from "@fastify/swagger";
import { openApiDocument, type DocumentedRoute, type DocumentFacts } from "../../openapi/document.ts";

type OpenApiDocument = ReturnType<typeof openApiDocument>;

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

/** What belongs to the connection, not to the page. */
const CONNECTION_HEADERS = new Set(["connection", "content-length", "date", "keep-alive", "transfer-encoding"]);

/** @param routes Complete by the time of the first request. */
export function openApiRoutes(app: FastifyInstance, routes: readonly DocumentedRoute[], facts: DocumentFacts): void {
  let made: OpenApiDocument | undefined;
  const document = (): OpenApiDocument => (made ??= openApiDocument(routes, facts));
  let pages: Promise<FastifyInstance> | undefined;
  // A browser opens a page without a key.
  const config = { isOpen: true };
  app.get("/openapi.json", { config }, () => document());
  for (const path of ["/docs", "/docs/*"]) {
    app.get(path, { config }, async ({ url, headers }, reply) => {
      pages ??= openPages(document());
      const page = await (await pages).inject({ url, headers });
      if (page.statusCode === 404) return reply.callNotFound();
      const kept = Object.entries(page.headers).filter(([name]) => !CONNECTION_HEADERS.has(name));
      return reply.code(page.statusCode).headers(Object.fromEntries(kept)).send(page.rawPayload);
    });
  }
  app.addHook("onClose", async () => (await pages)?.close());
}

/** Swagger UI, from files of its package alone. An application of its own: Fastify takes no more plugins once it is ready. */
async function openPages(document: OpenApiDocument): Promise<FastifyInstance> {
  const [{ default: swagger }, { default: swaggerUi }] = await Promise.all([
    import("@fastify/swagger"),
    import("@fastify/swagger-ui"),
  ]);
  const app = Fastify({ routerOptions: { ignoreTrailingSlash: true, ignoreDuplicateSlashes: true } });
  // The types of the plugin end with OpenAPI 3.0; it passes the document on as it is.
  const specification = { document } as unknown as StaticDocumentSpec;
  await app.register(swagger, { mode: "static", specification });
  await app.register(swaggerUi, { routePrefix: "/docs", staticCSP: DOCS_POLICY, theme: { title: "Latentcast API" } });
  return app;
}
