/** `GET /v1/models`: what UIs fill their lists of models from. */
import type { ModelList, ModelObject } from "./schema.ts";

/** @param created Seconds since 1970. */
export function listModels(names: readonly string[], created: number): ModelList {
  return { object: "list", data: names.map((name) => modelNamed(name, created)) };
}

export function modelNamed(id: string, created: number): ModelObject {
  return { id, object: "model", created, owned_by: "latentcast" };
}
