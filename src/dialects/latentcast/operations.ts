/** What our own paths for images do. */
import {
  inputSchema,
  OF_WORK,
  outputSchema,
  WITH_BODY,
  type NamedSchema,
  type Operation,
} from "../../openapi/operation.ts";
import { generateInput } from "../../schema/input.ts";
import { generateResult, image, previewEvent, streamError } from "../../schema/output.ts";

export const GENERATE_INPUT = inputSchema("GenerateInput", generateInput);
export const IMAGE = outputSchema("Image", image);
export const GENERATE_RESULT = outputSchema("GenerateResult", generateResult, IMAGE);
export const PREVIEW_EVENT = outputSchema("PreviewEvent", previewEvent, IMAGE);
const STREAM_ERROR = outputSchema("StreamError", streamError);

const STREAM_RULES =
  "Server-Sent Events of one line of JSON each: previews, and the result as the last one. A failure on the way is one `StreamError`, " +
  "after which the connection breaks off instead of ending. Comments keep the connection alive.";

interface Shape {
  readonly id: string;
  readonly description: string;
  readonly input: NamedSchema;
  readonly result: NamedSchema;
}

/** A path that answers when everything is finished. */
export function resultOperation({ id, description, input, result }: Shape): Operation {
  return {
    id,
    tag: "Images",
    summary: "Make images and answer when they are finished",
    description,
    body: { json: input },
    responses: { 200: { description: "The finished images.", json: result } },
    errors: [...WITH_BODY, ...OF_WORK],
  };
}

/** A path that shows images while they form. */
export function streamOperation({ id, description, input, result }: Shape): Operation {
  return {
    id,
    tag: "Images",
    summary: "Make images and show them while they form",
    description: `${STREAM_RULES} ${description}`,
    body: { json: input },
    responses: { 200: { description: "The events.", events: [PREVIEW_EVENT, result, STREAM_ERROR] } },
    errors: [...WITH_BODY, ...OF_WORK],
  };
}

const shape = { input: GENERATE_INPUT, result: GENERATE_RESULT };

export const generateOperation = resultOperation({
  ...shape,
  id: "generate",
  description: "The same under `/{owner}/{alias}`, as fal's clients name models.",
});

export const generateStreamOperation = streamOperation({
  ...shape,
  id: "stream",
  description: "The same under `/{owner}/{alias}/stream`.",
});
