/** What receivers of webhooks check signatures with, at our address and at the one that fal's receivers know. */
import type { FastifyInstance } from "fastify";
import type { KeySet } from "../../requests/webhook-key.ts";

export function webhookKeyRoutes(app: FastifyInstance, keys: KeySet): void {
  for (const path of ["/.well-known/jwks.json", "/rest/.well-known/jwks.json"]) {
    app.get(path, { config: { isOpen: true } }, (_request, reply) =>
      reply.header("cache-control", "public, max-age=3600").send(keys),
    );
  }
}
