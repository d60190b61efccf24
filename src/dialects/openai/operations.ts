/** What the paths of OpenAI's API do. */
import { inputSchema, OF_WORK, outputSchema, WITH_BODY, WITH_KEY, type Operation } from "../../openapi/operation.ts";
import { statusOf } from "./error.ts";
import {
  completedEvent,
  editFormInput,
  editJsonInput,
  generationInput,
  imagesResponse,
  modelList,
  modelObject,
  openaiError,
  openaiImage,
  partialEvent,
  variationFormInput,
} from "./schema.ts";

const IMAGE = outputSchema("OpenaiImage", openaiImage);
const RESPONSE = outputSchema("OpenaiImagesResponse", imagesResponse, IMAGE);
const ERROR = outputSchema("OpenaiError", openaiError);
const PARTIAL = outputSchema("OpenaiPartialImage", partialEvent);
const COMPLETED = outputSchema("OpenaiCompletedImage", completedEvent);
const MODEL = outputSchema("OpenaiModel", modelObject);

const failure = { body: ERROR, statusOf };

export const generationsOperation: Operation = {
  id: "openaiGenerations",
  tag: "OpenAI",
  summary: "Make images as OpenAI's API does",
  description:
    "With `stream`, named Server-Sent Events: partial images, then each finished one. A failure on the way is one event `error`, after " +
    "which the connection breaks off. The same at `/images/generations`.",
  body: { json: inputSchema("OpenaiGeneration", generationInput) },
  responses: { 200: { description: "The finished images.", json: RESPONSE, events: [PARTIAL, COMPLETED, ERROR] } },
  errors: [...WITH_BODY, ...OF_WORK],
  failure,
};

export const editsOperation: Operation = {
  id: "openaiEdits",
  tag: "OpenAI",
  summary: "Edit images as OpenAI's API does",
  description:
    "Draws the image anew, or only where the mask is transparent. With `stream`, events as those of generations, whose names begin with " +
    "`image_edit`. The same at `/images/edits`.",
  body: {
    form: inputSchema("OpenaiEditForm", editFormInput),
    json: inputSchema("OpenaiEdit", editJsonInput),
  },
  responses: { 200: { description: "The finished images.", json: RESPONSE, events: [PARTIAL, COMPLETED, ERROR] } },
  errors: [...WITH_BODY, ...OF_WORK],
  failure,
};

export const variationsOperation: Operation = {
  id: "openaiVariations",
  tag: "OpenAI",
  summary: "Vary an image as OpenAI's API does",
  description: "Draws the image anew without a prompt. The same at `/images/variations`.",
  body: { form: inputSchema("OpenaiVariationForm", variationFormInput) },
  responses: { 200: { description: "The finished images.", json: RESPONSE } },
  errors: [...WITH_BODY, ...OF_WORK],
  failure,
};

export const modelsOperation: Operation = {
  id: "openaiModels",
  tag: "OpenAI",
  summary: "List the models",
  description: "Those that requests may name; none while the first loads. The same at `/models`.",
  responses: { 200: { description: "The models.", json: outputSchema("OpenaiModelList", modelList, MODEL) } },
  errors: WITH_KEY,
  failure,
};

export const modelOperation: Operation = {
  id: "openaiModel",
  tag: "OpenAI",
  summary: "Ask for one model",
  description: "Slashes in its name may be sent as they are. The same at `/models/{model}`.",
  parameters: [{ in: "path", name: "model", schema: { type: "string", minLength: 1 }, description: "Its id." }],
  responses: { 200: { description: "The model.", json: MODEL } },
  errors: [...WITH_KEY, "not_found"],
  failure,
};
