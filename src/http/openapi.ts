/** The OpenAPI 3.1 document. A pure function; `GET /openapi.json` sends it. */
import { operations, type Operations } from "./openapi-operations.ts";
import { componentSchemas, type JsonSchema } from "./openapi-schemas.ts";

export interface OpenApiDocument {
  readonly openapi: string;
  readonly info: Readonly<Record<string, unknown>>;
  readonly paths: Operations;
  readonly components: {
    readonly schemas: Readonly<Record<string, JsonSchema>>;
    readonly securitySchemes: Readonly<Record<string, unknown>>;
  };
  readonly security: readonly Readonly<Record<string, readonly string[]>>[];
  /** fal's tools list paths in this order. */
  readonly "x-fal-order-paths": readonly string[];
}

export function openApiDocument(version: string, needsKey: boolean): OpenApiDocument {
  const paths = operations();
  return {
    openapi: "3.1.0",
    info: {
      title: "Latentcast",
      version,
      description: "Stable Diffusion XL that streams the picture while it forms.",
      license: { name: "MIT", identifier: "MIT" },
    },
    paths,
    components: {
      schemas: componentSchemas(),
      securitySchemes: {
        key: { type: "apiKey", in: "header", name: "Authorization", description: "`Key <key>` or `Bearer <key>`." },
      },
    },
    security: needsKey ? [{ key: [] }] : [],
    "x-fal-order-paths": Object.keys(paths),
  };
}
