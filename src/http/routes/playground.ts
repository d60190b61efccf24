/** `GET /`: the page to try the server on. Built by vite to `dist/playground`; everything it needs comes from there. */
import { existsSync } from "node:fs";
import { join } from "node:path";
import fastifyStatic from "@fastify/static";
import type { FastifyInstance } from "fastify";
import { LatentcastError } from "../../errors.ts";
import { packageRoot } from "../../package-info.ts";

/** Files whose names carry a hash of what is in them. */
const ASSETS_MAX_AGE_MS = 365 * 24 * 3_600_000;

/** The page needs no key: it holds no secrets, and it asks for the key itself. */
const open = { config: { isOpen: true } };

export async function playgroundRoutes(app: FastifyInstance): Promise<void> {
  const folder = join(packageRoot(), "dist", "playground");
  if (!existsSync(join(folder, "index.html"))) {
    app.get("/", open, () => {
      throw new LatentcastError("not_found", { message: "The page has not been built: run `npm run build`." });
    });
    return;
  }
  // Only for `reply.sendFile`: a route for every file would answer paths that belong to others with a file's 404.
  await app.register(fastifyStatic, { root: folder, serve: false });
  app.get("/", open, (_request, reply) => reply.sendFile("index.html", { maxAge: 0 }));
  app.get("/favicon.svg", open, (_request, reply) => reply.sendFile("favicon.svg"));
  app.get<{ Params: { file: string } }>("/assets/:file", open, ({ params }, reply) =>
    reply.sendFile(`assets/${params.file}`, { maxAge: ASSETS_MAX_AGE_MS, immutable: true }),
  );
}
