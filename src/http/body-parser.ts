/** JSON bodies the way fal's clients send them: a content type on everything, also where there is no body at all. */
import type { FastifyInstance } from "fastify";
import { LatentcastError } from "../errors.ts";

export function acceptJson(app: FastifyInstance): void {
  const decoder = new TextDecoder("utf-8", { fatal: true });
  app.removeContentTypeParser(["application/json", "text/plain"]);
  app.addContentTypeParser("application/json", { parseAs: "buffer" }, (_request, body, done) => {
    // parseAs: "buffer" always brings a Buffer.
    const bytes = Buffer.isBuffer(body) ? body : Buffer.from(body);
    if (bytes.byteLength === 0) {
      done(null, undefined);
      return;
    }
    try {
      done(null, JSON.parse(decoder.decode(bytes)));
    } catch (cause) {
      done(new LatentcastError("bad_request", { message: "The request body is not JSON in UTF-8.", cause }));
    }
  });
}
