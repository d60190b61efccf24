/** The dialects there are. */
import { a1111Dialect } from "./a1111/dialect.ts";
import type { Dialect, QueueDialect } from "./dialect.ts";
import { fastSdxlDialect } from "./fast-sdxl/dialect.ts";
import { latentcastDialect } from "./latentcast/dialect.ts";
import { openaiDialect } from "./openai/dialect.ts";

export const QUEUE_DIALECTS: readonly QueueDialect[] = [latentcastDialect, fastSdxlDialect];

export const DIALECTS: readonly Dialect[] = [...QUEUE_DIALECTS, openaiDialect, a1111Dialect];

/** Ours has every path that no prefix claims. */
export function dialectAt(path: string): Dialect {
  return claimant(DIALECTS, path) ?? latentcastDialect;
}

/** @param model `owner/alias`; empty for the model of `POST /`. */
export function dialectOf(model: string): QueueDialect {
  return claimant(QUEUE_DIALECTS, `/${model}`) ?? latentcastDialect;
}

/** For requests that were stored with the dialect's name. Throws for one that only another version knows. */
export function dialectNamed(name: string): QueueDialect {
  const dialect = QUEUE_DIALECTS.find((candidate) => candidate.name === name);
  if (dialect === undefined) throw new Error(`no dialect is called ${JSON.stringify(name)}`);
  return dialect;
}

/** @param url A path as clients write it: with a query, and with slashes that were doubled where addresses were joined. */
function claimant<Claimant extends Dialect>(dialects: readonly Claimant[], url: string): Claimant | undefined {
  const path = url.replace(/[?#].*$/s, "").replaceAll(/\/{2,}/g, "/");
  return dialects.find(({ prefixes }) => prefixes.some((prefix) => path === prefix || path.startsWith(`${prefix}/`)));
}
