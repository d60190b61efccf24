/** Images and uploads by their unguessable names: `GET /files/{name}`. They never change, and expire. */
import type { FastifyInstance, FastifyReply, FastifyRequest } from "fastify";
import { LatentcastError } from "../../errors.ts";
import type { ObjectStore, StoredObject } from "../../storage/object-store.ts";
import { documented } from "../documented.ts";
import { fileOperation } from "../operations/files.ts";

/** What a browser may show in place; anything else is offered as a download, so that no upload becomes a page of this origin. */
const SHOWN_TYPES = new Set(["image/jpeg", "image/png", "image/webp", "image/avif", "image/gif"]);

export function fileRoutes(app: FastifyInstance, objects: ObjectStore): void {
  app.get(
    "/files/:key",
    documented(fileOperation),
    async (request: FastifyRequest<{ Params: { key: string } }>, reply): Promise<FastifyReply> => {
      const file = await objects.find(request.params.key);
      const maxAge = Math.floor((file?.remainingMs ?? 0) / 1_000);
      if (file === undefined || maxAge <= 0) {
        throw new LatentcastError("not_found", { message: "There is no such file, or it has expired." });
      }
      const etag = `"${file.key}"`;
      reply.headers({
        etag,
        "cache-control": `public, max-age=${maxAge}, immutable`,
        "last-modified": new Date(file.createdAtMs).toUTCString(),
        expires: new Date(Date.now() + file.remainingMs).toUTCString(),
        "x-content-type-options": "nosniff",
        "content-security-policy": "default-src 'none'; sandbox",
        // Pages of other origins show these images; their names are the permission.
        "cross-origin-resource-policy": "cross-origin",
      });
      if (matches(request.headers["if-none-match"], etag)) return reply.code(304).send();
      return sendFile(reply, file, objects);
    },
  );
}

/** Weak comparison, as RFC 9110 asks for here: proxies that compress turn tags into weak ones. */
function matches(ifNoneMatch: string | undefined, etag: string): boolean {
  const tags = ifNoneMatch?.split(",").map((tag) => tag.trim().replace(/^W\//, "")) ?? [];
  return tags.includes(etag) || tags.includes("*");
}

async function sendFile(reply: FastifyReply, file: StoredObject, objects: ObjectStore): Promise<FastifyReply> {
  reply.header("content-type", file.contentType).header("content-length", file.sizeBytes);
  if (!SHOWN_TYPES.has(file.contentType)) reply.header("content-disposition", "attachment");
  return reply.send(await objects.open(file.key));
}
