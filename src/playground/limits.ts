/** What the request's schema allows, as the build has put it into the page. */

interface FieldSchema {
  readonly type?: string;
  readonly default?: unknown;
  readonly description?: string;
  readonly minimum?: number;
  readonly maximum?: number;
  readonly multipleOf?: number;
  readonly maxLength?: number;
  readonly enum?: readonly string[];
  readonly anyOf?: readonly FieldSchema[];
  readonly properties?: Readonly<Record<string, FieldSchema>>;
  readonly items?: FieldSchema;
  readonly maxItems?: number;
}

/** JSON Schema of `POST /`, made from src/schema/input.ts. */
declare const INPUT_SCHEMA: FieldSchema;

export interface Limits {
  readonly minimum: number | undefined;
  readonly maximum: number | undefined;
  readonly step: number;
  readonly maxLength: number | undefined;
  readonly choices: readonly string[];
  readonly fallback: string;
  readonly description: string;
}

/** Of a field by its path, such as `width` or `preview.every`. Throws a RangeError when the schema has no such field. */
export function limitsOf(path: string): Limits {
  const field = path
    .split(".")
    .reduce<FieldSchema | undefined>(
      (schema, name) => schema && branches(schema).find(({ properties }) => properties?.[name])?.properties?.[name],
      INPUT_SCHEMA,
    );
  if (field === undefined) throw new RangeError(`the request has no field ${path}`);
  const alternatives = branches(field);
  const bounds = alternatives.find(({ type }) => type === "integer" || type === "number") ?? field;
  return {
    minimum: bounds.minimum,
    maximum: bounds.maximum,
    step: bounds.multipleOf ?? (bounds.type === "integer" ? 1 : bounds.maximum === 1 ? 0.01 : 0.1),
    maxLength: field.maxLength,
    choices: field.enum ?? [],
    fallback: typeof field.default === "string" || typeof field.default === "number" ? String(field.default) : "",
    description: field.description ?? "",
  };
}

function branches(schema: FieldSchema): readonly FieldSchema[] {
  // Of a list, what is in it.
  return (schema.anyOf ?? [schema]).map((branch) => branch.items ?? branch);
}
