/** fal's storage: ask for a place, put the bytes there, use its URL. */
import type { Readable } from "node:stream";
import type { FastifyInstance, FastifyRequest } from "fastify";
import { LatentcastError } from "../../errors.ts";
import { invalidRequest } from "../../jobs/request.ts";
import { fileKey } from "../../storage/published-images.ts";
import type { ObjectStore } from "../../storage/object-store.ts";
import { Conflict } from "../../storage/request-store.ts";
import { parseObject } from "../../schema/parse.ts";
import { documented } from "../documented.ts";
import { initiateUploadInput, initiateUploadOperation, uploadOperation } from "../operations/files.ts";
import { publicUrl } from "../public-url.ts";
import type { UploadTicket, UploadTickets } from "../upload-ticket.ts";

export interface StorageRoutesOptions {
  readonly objects: ObjectStore;
  readonly tickets: UploadTickets;
  readonly publicUrl: string | null;
  readonly uploadLimitBytes: number;
}

interface Upload {
  Params: { key: string };
  Querystring: Record<string, string>;
}

/** A slow line and a large file have to fit in. */
const TICKET_LIFE_MS = 15 * 60_000;

export function storageRoutes(app: FastifyInstance, options: StorageRoutesOptions): void {
  const { tickets } = options;

  app.post("/rest/storage/upload/initiate", documented(initiateUploadOperation), (request) => {
    const parsed = parseObject(initiateUploadInput, request.body);
    if (!parsed.ok) throw invalidRequest(parsed.problems);
    const { content_type: contentType } = parsed.input;
    const key = fileKey(contentType);
    const query = tickets.issue(key, contentType, TICKET_LIFE_MS);
    const fileUrl = `${publicUrl(request, options.publicUrl)}/files/${key}`;
    return { file_url: fileUrl, upload_url: `${fileUrl}?${query}` };
  });

  // A scope of its own: here, and nowhere else, a body of any type is taken as it comes.
  void app.register(async (scope) => {
    scope.removeAllContentTypeParsers();
    scope.addContentTypeParser("*", { bodyLimit: options.uploadLimitBytes }, (_request, body, done) =>
      done(null, body),
    );
    scope.put(
      "/files/:key",
      { ...documented(uploadOperation), bodyLimit: options.uploadLimitBytes },
      async (request: FastifyRequest<Upload>, reply) => {
        // Cleared when the body has been read to its end: else the connection cannot be used again.
        reply.header("connection", "close");
        const ticket = tickets.check(request.params.key, request.query);
        if (ticket === undefined) throw refusedUpload();
        await keepUpload(ticket, request.body, options);
        // fal's clients look at the status alone.
        return reply.removeHeader("connection").send({});
      },
    );
  });

  for (const path of ["/rest/storage/upload/initiate-multipart", "/rest/storage/auth/token"]) {
    app.post(path, () => {
      throw new LatentcastError("not_implemented", { message: `${path} does not exist here.` });
    });
  }
}

async function keepUpload(ticket: UploadTicket, body: unknown, options: StorageRoutesOptions): Promise<void> {
  const { objects, uploadLimitBytes } = options;
  try {
    await objects.put(ticket, bodyOf(body), uploadLimitBytes);
  } catch (error) {
    throw error instanceof Conflict ? refusedUpload() : error;
  }
}

function refusedUpload(): LatentcastError {
  return new LatentcastError("forbidden", {
    message: "This upload URL is unknown, has been used, or has expired.",
  });
}

/** A request without a content type brings no stream: an empty file. */
function bodyOf(body: unknown): Readable | Buffer {
  return body === undefined || body === null ? Buffer.alloc(0) : (body as Readable);
}
