/** Addresses that nothing answers, or not with that method. */
import type { FastifyInstance, HTTPMethods } from "fastify";
import { modelName } from "../dialects/model-name.ts";
import { LatentcastError } from "../errors.ts";

const METHODS = ["GET", "HEAD", "POST", "PUT"] as const satisfies readonly HTTPMethods[];

const QUEUE = "/queue/";

export function handleNotFound(app: FastifyInstance): void {
  app.setNotFoundHandler((request, reply) => {
    const path = request.url.split("?", 1)[0] ?? "/";
    const methods = METHODS.filter((method) => isAnswered(app, path, method));
    if (methods.length === 0) throw new LatentcastError("not_found", { message: `Path ${path} not found` });
    reply.header("allow", methods.join(", "));
    throw new LatentcastError("method_not_allowed", { message: `Path ${path} answers ${methods.join(", ")}` });
  });
}

/** The routes of models take any two parts; not every two parts are a model. */
function isAnswered(app: FastifyInstance, path: string, method: HTTPMethods): boolean {
  const route = app.findRoute({ url: path, method });
  if (route === null) return false;
  const takesAnyName = "alias" in route.params || path.startsWith(QUEUE);
  return !takesAnyName || modelName(path.replace(QUEUE, "")) !== undefined;
}
