/** What the paths of A1111's API do. */
import { z } from "zod";
import {
  inputSchema,
  OF_WORK,
  outputSchema,
  WITH_BODY,
  WITH_KEY,
  type NamedSchema,
  type Operation,
} from "../../openapi/operation.ts";
import {
  a1111Error,
  checkpoint,
  a1111Images,
  img2imgInput,
  options,
  progressResponse,
  progressState,
  sampler,
  scheduler,
  taskInput,
  taskResponse,
  txt2imgInput,
} from "./schema.ts";

const ERROR = outputSchema("A1111Error", a1111Error);
const IMAGES = outputSchema("A1111Images", a1111Images);
const PROGRESS = outputSchema("A1111Progress", progressResponse, outputSchema("A1111ProgressState", progressState));
const OPTIONS = outputSchema("A1111Options", options);
const CHECKPOINTS = outputSchema("A1111Checkpoints", z.array(checkpoint), outputSchema("A1111Checkpoint", checkpoint));
const SAMPLERS = outputSchema("A1111Samplers", z.array(sampler), outputSchema("A1111Sampler", sampler));
const SCHEDULERS = outputSchema("A1111Schedulers", z.array(scheduler), outputSchema("A1111Scheduler", scheduler));
const ITEMS = outputSchema("A1111Items", z.array(z.looseObject({})));
const FACTS = outputSchema("A1111Facts", z.looseObject({}));
const NOTHING = outputSchema("A1111Nothing", z.null());

const failure = { body: ERROR, statusOf: ({ status }: { status: number }) => status };
const tag = "AUTOMATIC1111" as const;

function imagesOperation(id: string, summary: string, description: string, input: NamedSchema): Operation {
  return {
    id,
    tag,
    summary,
    description: `${description} An interrupted request answers 200 with the image so far.`,
    body: { json: input },
    responses: { 200: { description: "The finished images.", json: IMAGES } },
    errors: [...WITH_BODY, ...OF_WORK, "not_found"],
    failure,
  };
}

export const txt2imgOperation = imagesOperation(
  "a1111Txt2img",
  "Make images as A1111's web UI does",
  "Answered when they are finished; `GET /sdapi/v1/progress` shows them meanwhile.",
  inputSchema("A1111Txt2img", txt2imgInput),
);

export const img2imgOperation = imagesOperation(
  "a1111Img2img",
  "Make images from an image as A1111's web UI does",
  "As `/sdapi/v1/txt2img`, beginning with the first of `init_images`.",
  inputSchema("A1111Img2img", img2imgInput),
);

function readOperation(id: string, summary: string, json: NamedSchema, description = `${summary}.`): Operation {
  return {
    id,
    tag,
    summary,
    description,
    responses: { 200: { description: summary, json } },
    errors: WITH_KEY,
    failure,
  };
}

export const progressOperation: Operation = {
  ...readOperation(
    "a1111Progress",
    "How far the caller's newest request is",
    PROGRESS,
    "With the image so far. A caller is a key; without keys, an address.",
  ),
  parameters: [
    {
      in: "query",
      name: "skip_current_image",
      schema: { type: "boolean", default: false },
      description: "`true` leaves out the image.",
    },
  ],
};

export const taskOperation: Operation = {
  id: "a1111Task",
  tag,
  summary: "How far the request with that `force_task_id` is",
  description: "Of the same caller.",
  body: { json: inputSchema("A1111Task", taskInput) },
  responses: { 200: { description: "Its progress.", json: outputSchema("A1111TaskProgress", taskResponse) } },
  errors: WITH_BODY,
  failure,
};

function endOperation(id: string, json: NamedSchema): Operation {
  return {
    ...readOperation(id, "End what the caller has under way", json),
    description:
      "Those requests answer 200 with the image so far, those that wait with none. Nobody else's are touched.",
  };
}

export const interruptOperation = endOperation("a1111Interrupt", FACTS);
export const skipOperation = endOperation("a1111Skip", NOTHING);

export const optionsOperation = readOperation("a1111Options", "The settings that programs look at", OPTIONS);

export const setOptionsOperation: Operation = {
  id: "a1111SetOptions",
  tag,
  summary: "Choose the checkpoint",
  description: "Accepts every setting and changes none. 404 for a checkpoint that is not loaded.",
  body: { json: inputSchema("A1111SetOptions", options) },
  responses: { 200: { description: "Nothing.", json: NOTHING } },
  errors: [...WITH_BODY, "not_found", "worker_unavailable"],
  failure,
};

export const checkpointsOperation = readOperation("a1111Checkpoints", "The model that is loaded", CHECKPOINTS);

/** Of the lists in lists.ts, those whose answer is not a list of things that do not exist here. */
const SHAPES: Readonly<Record<string, NamedSchema>> = {
  samplers: SAMPLERS,
  schedulers: SCHEDULERS,
  embeddings: FACTS,
  scripts: FACTS,
  "cmd-flags": FACTS,
  memory: FACTS,
  "system-info/status": FACTS,
};

export function listOperation(name: string): Operation {
  const words = name.split(/\W/);
  const id = words.map((word) => word.charAt(0).toUpperCase() + word.slice(1)).join("");
  return readOperation(`a1111${id}`, `The web UI's ${words.join(" ")}`, SHAPES[name] ?? ITEMS);
}

export const refreshOperation = (what: string): Operation =>
  readOperation(`a1111Refresh${what}`, `Look for new ${what.toLowerCase()}: nothing to do`, NOTHING);

export const queueStatusOperation = readOperation(
  "a1111QueueStatus",
  "How many requests wait, as Gradio says it",
  outputSchema("A1111QueueStatus", z.object({ msg: z.string(), queue_size: z.int() })),
);

export const configOperation = readOperation(
  "a1111Config",
  "What programs read to see that the web UI runs",
  outputSchema("A1111Config", z.object({ version: z.string(), title: z.string() })),
);

export const loginOperation: Operation = {
  id: "a1111Login",
  tag,
  summary: "Check a key as Gradio's login does",
  description: "The password is the key. Nothing is remembered: requests carry the key themselves. Forms are read too.",
  body: {
    json: inputSchema("A1111Login", z.object({ username: z.string().default(""), password: z.string().default("") })),
  },
  responses: {
    200: { description: "It is right.", json: outputSchema("A1111LoggedIn", z.object({ success: z.boolean() })) },
  },
  errors: WITH_BODY.filter((code) => code !== "unauthorized"),
  failure,
  isOpen: true,
};
