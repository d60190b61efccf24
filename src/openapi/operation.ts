/** What a route says about itself for the OpenAPI document. Registered with the route, so that no list of routes has to agree with it. */
import type { z } from "zod";
import type { ErrorCode, ErrorDescription } from "../errors.ts";

/** A schema with the name that generated clients give its type. */
export interface NamedSchema {
  readonly name: string;
  readonly schema: z.ZodType;
  /** Whether fields with a default may be absent (`input`) or are always there. */
  readonly io: "input" | "output";
  /** Schemas inside of it that get names of their own; generators make up worse ones. */
  readonly parts: readonly NamedSchema[];
}

export interface Parameter {
  readonly in: "path" | "query" | "header";
  readonly name: string;
  readonly schema: Readonly<Record<string, unknown>>;
  readonly description: string;
}

/** What a response carries besides its description. */
export type Content =
  | { readonly json: NamedSchema }
  /** One or the other, as the request says. */
  | { readonly json: NamedSchema; readonly events: readonly NamedSchema[] }
  /** Server-Sent Events whose data is one of these. */
  | { readonly events: readonly NamedSchema[] }
  | { readonly text: true }
  | { readonly bytes: true }
  | { readonly empty: true };

export type DescribedResponse = Content & {
  readonly description: string;
  /** Operations, by id, that take the `request_id` of this response. */
  readonly linksTo?: readonly string[];
};

export type RequestBody =
  | { readonly json: NamedSchema }
  /** `multipart/form-data`; with `json`, one or the other. */
  | { readonly form: NamedSchema; readonly json?: NamedSchema }
  | { readonly bytes: true };

export interface Operation {
  readonly id: string;
  readonly tag: "Images" | "OpenAI" | "AUTOMATIC1111" | "Queue" | "Files" | "Service";
  readonly summary: string;
  readonly description: string;
  readonly parameters?: readonly Parameter[];
  readonly body?: RequestBody;
  readonly responses: Readonly<Record<number, DescribedResponse>>;
  readonly errors: readonly ErrorCode[];
  /** Of a dialect that answers errors in a shape of its own. */
  readonly failure?: { readonly body: NamedSchema; readonly statusOf: (error: ErrorDescription) => number };
  /** Answered without a key. */
  readonly isOpen?: boolean;
}

export function inputSchema(name: string, schema: z.ZodType, ...parts: readonly NamedSchema[]): NamedSchema {
  return { name, schema, io: "input", parts };
}

export function outputSchema(name: string, schema: z.ZodType, ...parts: readonly NamedSchema[]): NamedSchema {
  return { name, schema, io: "output", parts };
}

/** Whatever is asked for may be refused for these. */
export const ALWAYS: readonly ErrorCode[] = ["bad_request", "forbidden", "internal_error", "overloaded"];
export const WITH_KEY: readonly ErrorCode[] = [...ALWAYS, "unauthorized"];
export const WITH_BODY: readonly ErrorCode[] = [
  ...WITH_KEY,
  "rate_limited",
  "payload_too_large",
  "unsupported_media_type",
  "invalid_request",
];
/** How a request for images can end. */
export const OF_WORK: readonly ErrorCode[] = [
  "queue_full",
  "cancelled",
  "numerical_error",
  "out_of_memory",
  "worker_crashed",
  "worker_unavailable",
  "draining",
  "request_timeout",
  "storage_full",
];
