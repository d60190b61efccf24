/**
 * What the processes of a fleet say to each other, defined once. A message is a header, which is one of the objects below, and raw bytes.
 * Additions keep {@link WIRE_VERSION}: who reads ignores fields that it does not know. docs/architecture.md shows who says what when.
 */
import { z } from "zod";
import { LatentcastError, isErrorCode } from "../errors.ts";
import { capabilities, imageSize, modelInfo, previewPlan } from "../protocol/messages.ts";
import { generationParams } from "../protocol/params.ts";
import { OUTPUT_FORMATS } from "../schema/input.ts";

export const WIRE_VERSION = 1;

const count = z.int().min(0);
const version = z.literal(WIRE_VERSION);

/**
 * One run of a job. Tickets are made again when they are lost (`attempt`) and handed out again when their holder dies (`delivery`): the
 * higher pair is the newer run, and what an older one says is ignored.
 */
export const runNumber = z.object({ attempt: z.int().min(1), delivery: count });

const jobRun = z.object({ v: version, id: z.string().min(1), run: runNumber });

/** Names work. Without `gateway` the request is in the state store; with it, it is the ticket's payload: {@link remoteRequest}. */
export const ticket = z.object({
  v: version,
  id: z.string().min(1),
  pool: z.string(),
  attempt: z.int().min(1),
  gateway: z.string().nullable().describe("Whose client waits for an interactive job."),
  revision: count.nullable().describe("Of the record of a durable request when the ticket was made."),
  traceparent: z.string().nullable(),
});

/** An interactive job as its gateway has resolved it. Its input images stay there until a node asks for them. */
export const remoteRequest = z.object({
  params: generationParams,
  preview: previewPlan.nullable(),
  output_format: z.enum(OUTPUT_FORMATS),
  output_quality: z.int().min(1).max(100).nullable(),
  priority: z.enum(["normal", "low"]),
  inputs: z
    .object({
      digests: z.object({ image: z.string(), mask: z.string().nullable() }),
      bytes: z.array(count).min(1).describe("Length of each frame, at the size of the job."),
    })
    .nullable(),
});

/** A node asks whether it may run what it has pulled. */
export const claimed = jobRun.extend({
  kind: z.literal("claimed"),
  node: z.string(),
  incarnation: z.string(),
  ack: z.string().describe("Where the delivery can be taken from this node again."),
});

/** `stop`: the job has ended, is unknown, or a newer run has begun. `again`: something of the result is missing. */
export const verdict = z.object({
  verdict: z.enum(["go", "stop", "again"]),
  deaths: count.default(0).describe("Nodes that died with it."),
});

/** A node asks for bytes of the input images of a job. The answer's payload is empty beyond the last. */
export const inputQuestion = z.object({ v: version, id: z.string(), from: count, length: z.int().min(1) });

const started = jobRun.extend({ kind: z.literal("started"), total_steps: z.int().min(1) });
const progress = jobRun.extend({ kind: z.literal("progress"), step: count, total_steps: z.int().min(1) });
/** A worker of the node died; the node begins the job again. */
const queued = jobRun.extend({ kind: z.literal("queued") });

/** One part of an image: `of` parts make one, `images` of them one preview or result. */
export const imagePart = imageSize.extend({
  image: count,
  images: z.int().min(1),
  part: count,
  of: z.int().min(1),
  content_type: z.string(),
  seed: count,
});

const preview = jobRun.extend({
  kind: z.literal("preview"),
  step: count,
  total_steps: z.int().min(1),
  part: imagePart,
});

/** Part of a result. Unlike previews, each is repeated until the gateway has answered {@link verdict}. */
const result = jobRun.extend({ kind: z.literal("result"), part: imagePart });

export const wireError = z.object({
  code: z.string(),
  message: z.string(),
  fields: z.array(z.object({ loc: z.array(z.string()), msg: z.string(), type: z.string() })),
  retry_after: z.number().nullable(),
});

const ended = jobRun.extend({
  kind: z.literal("ended"),
  end: z.discriminatedUnion("kind", [
    z.object({ kind: z.literal("succeeded"), images: z.int().min(1), warnings: z.array(z.string()) }),
    z.object({ kind: z.literal("failed"), error: wireError }),
    z.object({ kind: z.literal("released").describe("The node drains; somebody else is to run it.") }),
  ]),
});

/** What a node tells the gateway about an interactive job. */
export const jobMessage = z.discriminatedUnion("kind", [claimed, started, progress, queued, preview, result, ended]);

/** A node asks, once a second, which of a gateway's jobs it need not go on with. */
export const holding = z.object({ v: version, runs: z.array(z.object({ id: z.string(), run: runNumber })) });
export const notWanted = z.object({
  ended: z.array(z.string()),
  superseded: z.array(z.object({ id: z.string(), run: runNumber })).describe("A newer run of them has begun."),
});

/** To all nodes: whoever runs it, up to this run, stops. */
export const cancellation = z.object({ v: version, id: z.string(), run: runNumber.optional() });

const device = z.object({
  slot: count,
  name: z.string(),
  rows: z.int().min(1),
  step_seconds: z.number().min(0),
  held: count,
  newcomers: count,
  has_room: z.boolean(),
  first_preview_seconds: z.number().min(0),
  backlog_seconds: z.number().min(0),
});

export const heldRun = z.object({
  id: z.string(),
  attempt: count,
  ack: z.string(),
});

const beat = z.object({ v: version, name: z.string(), incarnation: z.string(), version: z.string() });

export const nodeBeat = beat.extend({
  kind: z.literal("node"),
  pool: z.string(),
  state: z.enum(["loading", "ready", "draining", "failed", "mismatch", "gone"]),
  reason: z.string().nullable().describe("Why it takes no work, where that is a fault."),
  fingerprint: z.string().nullable(),
  serving: z
    .object({ model: modelInfo, preview_decoders: capabilities.shape.preview_decoders })
    .nullable()
    .describe("What is loaded; null until it is."),
  slots: z.int().min(1).describe("Jobs that a device of the fastest kind holds at most."),
  devices: z.array(device),
  held: z.array(heldRun),
});

export const gatewayBeat = beat.extend({
  kind: z.literal("gateway"),
  waiting: count,
  pool: z.string().optional().describe("Draws what names no model. Not said by the first version of this message."),
});

export const heartbeat = z.discriminatedUnion("kind", [nodeBeat, gatewayBeat]);

/** What every version says, and of which version that is. */
export const anyBeat = z.object({ v: z.number(), name: z.string(), version: z.string() });

/** What all nodes of a pool have in common: `lc.pool.<pool>`. */
export const poolRecord = z.object({
  v: version,
  fingerprint: z.string(),
  serving: z.object({ model: modelInfo, preview_decoders: capabilities.shape.preview_decoders }),
});

export type Ticket = z.infer<typeof ticket>;
export type RunNumber = z.infer<typeof runNumber>;
export type RemoteRequest = z.infer<typeof remoteRequest>;
export type JobMessage = z.infer<typeof jobMessage>;
export type JobMessageOf<Kind extends JobMessage["kind"]> = Extract<JobMessage, { kind: Kind }>;
export type ImagePart = z.infer<typeof imagePart>;
export type NodeBeat = z.infer<typeof nodeBeat>;
export type GatewayBeat = z.infer<typeof gatewayBeat>;
export type HeldRun = z.infer<typeof heldRun>;
export type PoolRecord = z.infer<typeof poolRecord>;
export type DeviceBeat = z.infer<typeof device>;

export function isNewer(a: RunNumber, b: RunNumber): boolean {
  return a.attempt === b.attempt ? a.delivery > b.delivery : a.attempt > b.attempt;
}

export function isSameRun(a: RunNumber, b: RunNumber): boolean {
  return a.attempt === b.attempt && a.delivery === b.delivery;
}

/** Only what the client may read travels: causes stay in the log of the node. */
export function toWireError({ code, message, fields, retryAfterSeconds }: LatentcastError): z.infer<typeof wireError> {
  return { code, message, fields: [...fields], retry_after: retryAfterSeconds ?? null };
}

export function fromWireError({
  code,
  message,
  fields,
  retry_after: retryAfter,
}: z.infer<typeof wireError>): LatentcastError {
  if (!isErrorCode(code)) return new LatentcastError("internal_error", { cause: `a node says ${code}` });
  return new LatentcastError(code, {
    message,
    fields,
    ...(retryAfter === null ? {} : { retryAfterSeconds: retryAfter }),
  });
}
