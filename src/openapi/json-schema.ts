/** Zod schemas as JSON Schema that generators of clients understand. What is validated is what is documented. */
import { z } from "zod";
import type { NamedSchema } from "./operation.ts";

export type JsonSchema = Readonly<Record<string, unknown>>;

const refTo = (name: string): string => `#/components/schemas/${name}`;

export function schemaRef({ name }: NamedSchema): JsonSchema {
  return { $ref: refTo(name) };
}

/** Each by its name; where one contains another it refers to it. */
export function componentSchemas(used: readonly NamedSchema[]): Readonly<Record<string, JsonSchema>> {
  const all = used.flatMap((named) => [...named.parts, named]);
  return { ...convert(all, "input"), ...convert(all, "output") };
}

function convert(all: readonly NamedSchema[], io: NamedSchema["io"]): Readonly<Record<string, JsonSchema>> {
  const registry = z.registry<{ id: string }>();
  const mine = all.filter((named) => named.io === io);
  for (const { name, schema } of mine) if (!registry.has(schema)) registry.add(schema, { id: name });
  const { schemas } = z.toJSONSchema(registry, { io, uri: refTo, override: ({ jsonSchema }) => adapt(jsonSchema) });
  return Object.fromEntries(
    Object.entries(schemas).map(([name, { $schema: _dialect, $id: _id, ...schema }]) => [name, schema]),
  );
}

function adapt(schema: z.core.JSONSchema.BaseSchema): void {
  // fal's tools show fields in this order.
  if (schema.properties !== undefined) schema["x-fal-order-properties"] = Object.keys(schema.properties);
  // A later version may say more.
  if (schema.additionalProperties === false) delete schema.additionalProperties;
  // JavaScript's property classes; most other engines refuse the whole document for them.
  if (schema.pattern?.includes("\\p{") === true) delete schema.pattern;
  // Every integer that JavaScript can hold; says nothing but noise.
  if (schema.minimum === Number.MIN_SAFE_INTEGER) delete schema.minimum;
  if (schema.maximum === Number.MAX_SAFE_INTEGER) delete schema.maximum;
  // An object that is filled in by its fields' own defaults; openapi-python-client and orval give up on it.
  if (typeof schema.default === "object") delete schema.default;
  // openapi-python-client knows constants that are text or numbers only.
  if (typeof schema.const === "boolean") {
    schema.enum = [schema.const];
    delete schema.const;
  }
}
