/** What is kept of a request, checked when it is read: an older or another program may have written it. */
import { z } from "zod";
import { isErrorCode, type ErrorCode } from "../errors.ts";
import { generateInput } from "../schema/input.ts";
import { fieldProblem } from "../schema/output.ts";
import { logLine } from "../schema/queue.ts";

/** Of the records, not of the tables around them. */
export const RECORD_VERSION = 3;

/** Dialects ask for sizes and counts of their own, which are fitted to the model when the request runs. */
const input = z.object({
  ...generateInput.shape,
  width: z.int().positive().optional(),
  height: z.int().positive().optional(),
  num_images: z.int().positive(),
});

/** A request as it was accepted. Everything that is needed to run it again, seed included. */
export const acceptedRequest = z.object({
  id: z.string(),
  /** `owner/alias`, as the client named the model. */
  app: z.string(),
  /** Which shape its input had and its result will have. */
  dialect: z.string(),
  /** How the client reaches this server; URLs in the result start with it. */
  baseUrl: z.string(),
  /** Who may ask about it: a digest of the API key and the id. Null when no key was asked for. */
  owner: z.string().nullable(),
  /** Null when it was refused: such a request is accepted together with its end. */
  input: input.nullable(),
  warnings: z.array(z.string()),
  traceparent: z.string().nullable(),
  priority: z.enum(["normal", "low"]),
  /** Milliseconds since 1970, here and below. */
  acceptedAtMs: z.number(),
  /** Fails unless it has started by then. */
  startByMs: z.number().nullable(),
  webhookUrl: z.string().nullable(),
  /** Under which keys the store keeps its images. Absent for a request from text alone. */
  inputFiles: z.object({ image: z.string(), mask: z.string().nullable() }).optional(),
  /** Of a fleet: whose nodes run it. */
  pool: z.string().optional(),
});

export const requestResult = z.object({
  endedAtMs: z.number(),
  error: z
    .object({
      code: z.custom<ErrorCode>((value) => typeof value === "string" && isErrorCode(value)),
      message: z.string(),
      /** What is wrong with which field of the input. */
      fields: z.array(fieldProblem),
    })
    .nullable(),
  inferenceMs: z.number().nullable(),
  logs: z.array(logLine),
});

export type AcceptedRequest = Readonly<Omit<z.infer<typeof acceptedRequest>, "warnings">> & {
  readonly warnings: readonly string[];
};
export type RequestResult = Readonly<Omit<z.infer<typeof requestResult>, "logs">> & {
  readonly logs: readonly z.infer<typeof logLine>[];
};

/** A record that cannot be read. Nothing is changed because of it. */
export class DamagedRecord extends Error {
  override readonly name = "DamagedRecord";
}

const record = z.object({ version: z.literal(RECORD_VERSION) });

export function writeRecord(value: AcceptedRequest | RequestResult): string {
  return JSON.stringify({ version: RECORD_VERSION, ...value });
}

export const readRequest = (json: string): AcceptedRequest => read(json, record.extend(acceptedRequest.shape));
export const readResult = (json: string): RequestResult => read(json, record.extend(requestResult.shape));

function read<Value>(json: string, schema: z.ZodType<Value>): Value {
  let value: unknown;
  try {
    value = JSON.parse(json);
  } catch (error) {
    throw new DamagedRecord("a stored record is not JSON", { cause: error });
  }
  const parsed = schema.safeParse(value);
  if (parsed.success) return parsed.data;
  const [issue] = parsed.error.issues;
  throw new DamagedRecord(`a stored record cannot be read: ${issue?.path.join(".") ?? ""} ${issue?.message ?? ""}`, {
    cause: parsed.error,
  });
}
