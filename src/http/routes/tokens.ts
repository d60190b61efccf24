/** Access tokens: what fal's clients ask for with a key, so that a page can open a socket or stream without one. */
import type { FastifyInstance, FastifyRequest } from "fastify";
import { invalidRequest } from "../../jobs/request.ts";
import { parseObject } from "../../schema/parse.ts";
import type { AccessTokens } from "../access-tokens.ts";
import { documented } from "../documented.ts";
import { realtimeTokenOperation, tokenInput, tokenOperation } from "../operations/tokens.ts";

/** fal's clients ask for as much, and renew it. */
const MAX_LIFE_SECONDS = 120;

export function tokenRoutes(app: FastifyInstance, tokens: AccessTokens): void {
  const sign = ({ body, caller }: FastifyRequest): string => {
    const parsed = parseObject(tokenInput, body);
    if (!parsed.ok) throw invalidRequest(parsed.problems);
    const { allowed_apps: apps, allowed_paths: paths, token_expiration: life, duration = life } = parsed.input;
    const seconds = Math.min(duration ?? MAX_LIFE_SECONDS, MAX_LIFE_SECONDS);
    return tokens.sign({ apps: [...apps, ...paths], caller, expiresAtMs: Date.now() + seconds * 1_000 });
  };
  // A bare JSON string: fal's older clients take the body itself for the token.
  app.post("/rest/tokens", documented(tokenOperation), (request, reply) =>
    reply.header("content-type", "application/json; charset=utf-8").send(JSON.stringify(sign(request))),
  );
  app.post("/rest/tokens/realtime", documented(realtimeTokenOperation), (request, reply) =>
    reply.code(201).send({ token: sign(request) }),
  );
}
