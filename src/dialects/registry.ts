/** Which model name speaks which dialect. */
import type { Dialect } from "./dialect.ts";
import { fastSdxlDialect } from "./fast-sdxl/dialect.ts";
import { latentcastDialect } from "./latentcast/dialect.ts";

/** fal's text-to-picture models of the SDXL family, which share one shape. */
const FAST_SDXL_MODELS = new Set(["fal-ai/fast-sdxl", "fal-ai/fast-lightning-sdxl", "fal-ai/hyper-sdxl"]);

const BY_NAME = new Map([latentcastDialect, fastSdxlDialect].map((dialect) => [dialect.name, dialect]));

/** @param model `owner/alias`; empty for the model of `POST /`. */
export function dialectOf(model: string): Dialect {
  return FAST_SDXL_MODELS.has(model) ? fastSdxlDialect : latentcastDialect;
}

/** For requests that were stored with the dialect's name. */
export function dialectNamed(name: string): Dialect {
  return BY_NAME.get(name) ?? latentcastDialect;
}
