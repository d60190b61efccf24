/** Pictures and uploads by their unguessable names: `GET /files/{name}`. They never change, and expire. */
import type { FastifyInstance, FastifyReply, FastifyRequest } from "fastify";
import { LatentcastError } from "../../errors.ts";
import type { QueueStore, StoredObject } from "../../storage/request-store.ts";

/** What a browser may show in place; anything else is offered as a download, so that no upload becomes a page of this origin. */
const SHOWN_TYPES = new Set(["image/jpeg", "image/png", "image/webp", "image/avif", "image/gif"]);

export function fileRoutes(app: FastifyInstance, store: QueueStore): void {
  app.get(
    "/files/:key",
    { config: { isOpen: true } },
    (request: FastifyRequest<{ Params: { key: string } }>, reply): FastifyReply => {
      const file = store.findObject(request.params.key);
      const maxAge = Math.floor(((file?.expiresAtMs ?? 0) - Date.now()) / 1_000);
      if (file?.kind !== "file" || maxAge <= 0) {
        throw new LatentcastError("not_found", { message: "There is no such file, or it has expired." });
      }
      const etag = `"${file.key}"`;
      reply.headers({
        etag,
        "cache-control": `public, max-age=${maxAge}, immutable`,
        "last-modified": new Date(file.createdAtMs).toUTCString(),
        expires: new Date(file.expiresAtMs).toUTCString(),
        "x-content-type-options": "nosniff",
        "content-security-policy": "default-src 'none'; sandbox",
        // Pages of other origins show these pictures; their names are the permission.
        "cross-origin-resource-policy": "cross-origin",
      });
      if (request.headers["if-none-match"]?.split(",").some((tag) => tag.trim() === etag) === true)
        return reply.code(304).send();
      return sendFile(reply, file, store);
    },
  );
}

function sendFile(reply: FastifyReply, file: StoredObject, store: QueueStore): FastifyReply {
  reply.header("content-type", file.contentType).header("content-length", file.sizeBytes);
  if (!SHOWN_TYPES.has(file.contentType)) reply.header("content-disposition", "attachment");
  return reply.send(store.openObject(file.key));
}
