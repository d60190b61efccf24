/** The form's values as the query of a link, and back. A link has a bounded length and says what it leaves out. */
import { FIELD_NAMES, readParameters, toParameters, type FieldName, type Values } from "./values.ts";

/**
 * Node refuses a request whose headers exceed 16 kB, nginx a request line above 8 kB. A Chinese character takes nine characters of a
 * query, so a prompt of 1,800 of them would make the page's own address unusable.
 */
const MAX_QUERY_LENGTH = 4_000;

/** Names the fields that were too long for the link. */
const LEFT_OUT = "left_out";

export interface Link {
  /** Without the question mark. */
  readonly query: string;
  readonly leftOut: readonly FieldName[];
}

export function linkOf(values: Values, defaults: Values): Link {
  const parameters = toParameters(values, defaults);
  const leftOut: FieldName[] = [];
  const longestFirst = [...FIELD_NAMES].sort((a, b) => values[b].length - values[a].length);
  for (const name of longestFirst) {
    if (parameters.toString().length <= MAX_QUERY_LENGTH) break;
    parameters.delete(name);
    leftOut.push(name);
    parameters.set(LEFT_OUT, leftOut.join());
  }
  return { query: parameters.toString(), leftOut };
}

export interface ReadLink {
  readonly values: Partial<Values>;
  readonly leftOut: readonly FieldName[];
}

export function readLink(search: string): ReadLink {
  const parameters = new URLSearchParams(search);
  const named = (parameters.get(LEFT_OUT) ?? "").split(",");
  return { values: readParameters(parameters), leftOut: FIELD_NAMES.filter((name) => named.includes(name)) };
}
