/** Which model name speaks which dialect. */
import type { Dialect } from "./dialect.ts";
import { fastSdxlDialect } from "./fast-sdxl/dialect.ts";
import { latentcastDialect } from "./latentcast/dialect.ts";

/** Programs that ask for a model of fal's read that model's shape, whichever it is: LiteLLM takes `images[0]` for all of them. */
const OF_FAL = /^fal-ai\//;

const BY_NAME = new Map([latentcastDialect, fastSdxlDialect].map((dialect) => [dialect.name, dialect]));

/** @param model `owner/alias`; empty for the model of `POST /`. */
export function dialectOf(model: string): Dialect {
  return OF_FAL.test(model) ? fastSdxlDialect : latentcastDialect;
}

/** For requests that were stored with the dialect's name. */
export function dialectNamed(name: string): Dialect {
  return BY_NAME.get(name) ?? latentcastDialect;
}
