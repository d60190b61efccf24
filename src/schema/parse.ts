/** Checks client input against a schema and describes problems the way fal's clients read them. Browser-safe. */
import type { z } from "zod";
import type { fieldProblem } from "./output.ts";

/** One field that is wrong. `loc` ends with the field's name; fal's clients compare the last element. */
export type FieldProblem = z.infer<typeof fieldProblem>;

export type Parsed<Output> =
  | { readonly ok: true; readonly input: Output; readonly warnings: readonly string[] }
  | { readonly ok: false; readonly problems: readonly FieldProblem[] };

/** Of thousands of unknown names the first few are listed; the rest is only counted. */
const MAX_WARNINGS = 10;
const MAX_NAME_LENGTH = 64;

/** Parses an object. Unknown fields are left out and named in `warnings`. A missing body counts as an empty object. */
export function parseObject<Schema extends z.ZodObject>(schema: Schema, body: unknown): Parsed<z.output<Schema>> {
  const value = body ?? {};
  const parsed = schema.safeParse(value);
  if (parsed.success) return { ok: true, input: parsed.data, warnings: unknownFieldWarnings(value, schema.shape) };
  return { ok: false, problems: parsed.error.issues.map((issue) => toProblem(issue, value)) };
}

function toProblem(issue: z.core.$ZodIssue, value: unknown): FieldProblem {
  const loc = ["body", ...issue.path.map(String)];
  if (issue.code === "invalid_type" && valueAt(value, issue.path) === undefined) {
    return { loc, msg: "Field required", type: "missing" };
  }
  if (issue.code === "invalid_union") return unionProblem(issue, loc, value);
  return { loc, msg: issue.message, type: issue.code };
}

/** Of a union's branches the one that got furthest into the value knows best what is wrong. */
function unionProblem(issue: z.core.$ZodIssueInvalidUnion, loc: string[], value: unknown): FieldProblem {
  const issues = issue.errors.flat();
  const deepest = issues.toSorted((a, b) => b.path.length - a.path.length)[0];
  if (deepest !== undefined && deepest.path.length > 0) {
    return toProblem({ ...deepest, path: [...issue.path, ...deepest.path] }, value);
  }
  const msg = [...new Set(issues.map(({ message }) => message))].join(", or ") || issue.message;
  return { loc, msg, type: "invalid_union" };
}

function valueAt(value: unknown, path: readonly PropertyKey[]): unknown {
  let current = value;
  for (const key of path) {
    if (typeof current !== "object" || current === null) return undefined;
    current = Reflect.get(current, key);
  }
  return current;
}

function unknownFieldWarnings(value: object, shape: Readonly<Record<string, unknown>>): string[] {
  const unknown = Object.keys(value).filter((name) => !Object.hasOwn(shape, name));
  const warnings = unknown
    .slice(0, MAX_WARNINGS)
    .map((name) => `unknown field ${JSON.stringify(shorten(name))} was ignored`);
  const rest = unknown.length - warnings.length;
  return rest > 0 ? [...warnings, `${rest} more unknown fields were ignored`] : warnings;
}

function shorten(name: string): string {
  return name.length > MAX_NAME_LENGTH ? `${name.slice(0, MAX_NAME_LENGTH)}…` : name;
}
