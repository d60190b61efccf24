/** Reads `multipart/form-data` whole, within limits, before the route runs: the field that asks for a stream may come after the files. */
import multipart, { type Multipart } from "@fastify/multipart";
import type { FastifyInstance, FastifyRequest } from "fastify";
import { MultipartForm, type FormPart } from "../../dialects/form.ts";
import { LatentcastError } from "../../errors.ts";
import { discardBody } from "./bodies.ts";

/** OpenAI's 16 images and a mask. */
const MAX_FILES = 17;
/** OpenAI's API has about 20. */
const MAX_FIELDS = 100;
/** Twelve times the longest prompt. */
const MAX_FIELD_BYTES = 64 * 2 ** 10;
/** Of one part; clients send two or three. */
const MAX_HEADERS = 20;

const LIMIT_TEXTS: Readonly<Record<string, string>> = {
  FST_FILES_LIMIT: `The form has more than ${MAX_FILES} files.`,
  FST_FIELDS_LIMIT: `The form has more than ${MAX_FIELDS} fields.`,
  FST_PARTS_LIMIT: `The form has more than ${MAX_FILES + MAX_FIELDS} parts.`,
};

/** Routes that are added to `scope` take forms as well as JSON; their body is then a {@link MultipartForm}. */
export async function acceptForms(scope: FastifyInstance): Promise<void> {
  await scope.register(multipart, {
    limits: {
      files: MAX_FILES,
      fields: MAX_FIELDS,
      parts: MAX_FILES + MAX_FIELDS,
      fieldSize: MAX_FIELD_BYTES,
      headerPairs: MAX_HEADERS,
    },
    // Read as text, an image without a file name would be damaged.
    isPartAFile: (_name, type = "", fileName) =>
      fileName !== undefined || /^(image\/|application\/octet-stream)/i.test(type),
  });
  scope.addContentTypeParser("*", (_request, _payload, done) => {
    const message = "Send multipart/form-data, or JSON with `content-type: application/json`.";
    done(new LatentcastError("unsupported_media_type", { message }));
  });
  scope.addHook("preValidation", async (request) => {
    if (request.isMultipart()) request.body = await readForm(request);
  });
}

async function readForm(request: FastifyRequest): Promise<MultipartForm> {
  const { raw, routeOptions } = request;
  let left = routeOptions.bodyLimit;
  // Counted on the wire: the parts leave out what is before, between and after them.
  const overflow = new Promise<never>((_resolve, reject) => {
    raw.on("data", (chunk: Buffer) => {
      left -= chunk.byteLength;
      if (left < 0) reject(new LatentcastError("payload_too_large"));
    });
  });
  try {
    return await Promise.race([collect(request.parts()), overflow]);
  } catch (error) {
    raw.unpipe();
    discardBody(request);
    throw refusal(error);
  }
}

async function collect(parts: AsyncIterable<Multipart>): Promise<MultipartForm> {
  const collected: FormPart[] = [];
  for await (const part of parts) {
    const { fieldname: name } = part;
    if (part.type === "file") {
      collected.push({ name, value: await part.toBuffer() });
      continue;
    }
    if (part.valueTruncated)
      throw new LatentcastError("payload_too_large", { message: `A field may have ${MAX_FIELD_BYTES} bytes of text.` });
    collected.push({ name, value: part.value });
  }
  return new MultipartForm(collected);
}

/** The parser's own messages name its functions. */
function refusal(error: unknown): LatentcastError {
  if (error instanceof LatentcastError) return error;
  const code = error instanceof Error && "code" in error ? String(error.code) : "";
  const message = LIMIT_TEXTS[code];
  if (message !== undefined) return new LatentcastError("payload_too_large", { message, cause: error });
  return new LatentcastError("bad_request", {
    message: "The form cannot be read: it is cut off or broken.",
    cause: error,
  });
}
