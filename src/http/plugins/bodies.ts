/** How bodies are received: which are refused before they are read, and how a client that is still sending one gets to see that. */
import type { ServerResponse } from "node:http";
import type { FastifyInstance, FastifyRequest } from "fastify";
import { LatentcastError, toLatentcastError } from "../../errors.ts";
import { readJson } from "../json-body.ts";

/** Most that is read and thrown away so that a client which sends before it listens (urllib, Node's fetch) reads the refusal. */
const MAX_DISCARDED_BYTES = 2 ** 30;

export function acceptJson(app: FastifyInstance): void {
  app.removeContentTypeParser(["application/json", "text/plain"]);
  app.addContentTypeParser("application/json", { parseAs: "buffer" }, (_request, body, done) => {
    try {
      // parseAs: "buffer" always brings a Buffer.
      done(null, readJson(Buffer.isBuffer(body) ? body : Buffer.from(body)));
    } catch (error) {
      done(toLatentcastError(error));
    }
  });
}

/** To be called after the hooks that refuse by headers alone: a client that asks first (`Expect`) then never sends its body. */
export function refuseBodies(app: FastifyInstance): void {
  /** Those that wait for leave to send, and whether their connection would stay open. */
  const waiting = new WeakMap<ServerResponse, boolean>();
  app.server.on("checkContinue", (request, response) => {
    waiting.set(response, response.shouldKeepAlive);
    // Whether the body comes after a refusal is the client's choice; no later request on this connection could be told from it.
    response.shouldKeepAlive = false;
    app.server.emit("request", request, response);
  });
  // Nothing else can be expected of this server: Node would answer 417 without a body.
  app.server.on("checkExpectation", (request, response) => app.server.emit("request", request, response));
  app.addHook("preParsing", async (request, reply, payload) => {
    const { headers, routeOptions } = request;
    if (Number(headers["content-length"]) > routeOptions.bodyLimit) throw new LatentcastError("payload_too_large");
    if (!/^(identity)?$/i.test(headers["content-encoding"] ?? "")) {
      reply.header("accept-encoding", "identity");
      throw new LatentcastError("unsupported_media_type", {
        message: "Send the body without content-encoding.",
      });
    }
    const staysOpen = waiting.get(reply.raw);
    if (staysOpen !== undefined) {
      reply.raw.shouldKeepAlive = staysOpen;
      reply.raw.writeContinue();
    }
    return payload;
  });
}

/** Reads on after a refusal: a connection that is closed while its client still sends is reset, and takes the answer with it. */
export function discardBody({ raw }: FastifyRequest): void {
  let left = MAX_DISCARDED_BYTES;
  raw.on("data", (chunk: Buffer) => {
    left -= chunk.byteLength;
    if (left < 0) raw.destroy();
  });
  raw.on("error", () => undefined);
  // It stands still when whoever read it before has let go of it.
  raw.resume();
}
