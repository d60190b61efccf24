/** The dialects there are. */
import type { Dialect } from "./dialect.ts";
import { fastSdxlDialect } from "./fast-sdxl/dialect.ts";
import { latentcastDialect } from "./latentcast/dialect.ts";

export const DIALECTS: readonly Dialect[] = [latentcastDialect, fastSdxlDialect];

/** Ours has every path that no longer prefix claims. */
export function dialectAt(path: string): Dialect {
  const reach = ({ prefixes }: Dialect): number =>
    Math.max(-1, ...prefixes.filter((prefix) => path.startsWith(prefix)).map(({ length }) => length));
  return DIALECTS.reduce((best, dialect) => (reach(dialect) > reach(best) ? dialect : best), latentcastDialect);
}

/** @param model `owner/alias`; empty for the model of `POST /`. */
export function dialectOf(model: string): Dialect {
  return dialectAt(`/${model}`);
}

/** For requests that were stored with the dialect's name. Throws for one that only another version knows. */
export function dialectNamed(name: string): Dialect {
  const dialect = DIALECTS.find((candidate) => candidate.name === name);
  if (dialect === undefined) throw new Error(`no dialect is called ${JSON.stringify(name)}`);
  return dialect;
}
