/** The models as OpenAI's API lists them. */
import type { FastifyInstance, FastifyRequest } from "fastify";
import { listModels, modelNamed } from "../../dialects/openai/models.ts";
import { modelOperation, modelsOperation } from "../../dialects/openai/operations.ts";
import type { ModelList, ModelObject } from "../../dialects/openai/schema.ts";
import { LatentcastError } from "../../errors.ts";
import type { Jobs } from "../../jobs/jobs.ts";
import { documented } from "../documented.ts";

interface ByName {
  Params: { "*"?: string; model?: string };
}

export function modelRoutes(app: FastifyInstance, jobs: Jobs): void {
  const created = Math.floor(Date.now() / 1_000);
  const names = (): string[] => jobs.models.map(({ id }) => id);
  const list = (): ModelList => listModels(names(), created);
  const one = ({ params }: FastifyRequest<ByName>): ModelObject => {
    const name = params["*"] ?? params.model;
    if (name === undefined || !names().includes(name))
      throw new LatentcastError("not_found", { message: `The model ${JSON.stringify(name)} is not loaded.` });
    return modelNamed(name, created);
  };
  app.get("/v1/models", documented(modelsOperation), list);
  app.get("/v1/models/:model", documented(modelOperation), one);
  // Clients leave the slash of `owner/name` as it is, or send it as %2F.
  app.get("/v1/models/*", one);
  app.get("/models", list);
  app.get("/models/*", one);
}
