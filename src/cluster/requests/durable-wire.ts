/**
 * What a node says about a durable request that it runs, to whoever listens, and how it answers those who missed something. An event is
 * numbered by the run it belongs to and its place in it, so it has the same id on every gateway.
 */
import { z } from "zod";
import type { Entry } from "../../jobs/event-log.ts";
import type { JobEvent } from "../../jobs/events.ts";
import { logLine } from "../../schema/queue.ts";
import { imagePart, WIRE_VERSION } from "../wire.ts";

const count = z.int().min(0);

const stepEvent = z.discriminatedUnion("kind", [
  z.object({ kind: z.literal("queued"), position: count, estimate_ms: z.number().nullable() }),
  z.object({ kind: z.literal("started"), total_steps: count }),
  z.object({ kind: z.literal("progress"), step: count, total_steps: count }),
]);

const previewStep = z.object({ step: count, total_steps: count });

const numbered = z.object({
  n: z.int().min(1).describe("Place in the run. Superseded events leave gaps."),
  c: count.describe("Events up to this one that nobody may miss: the start and the steps."),
});

export const durableEvent = numbered.extend({
  v: z.literal(WIRE_VERSION),
  id: z.string(),
  run: z.int().min(1).describe("The store's revision when the run's claim was made; later runs have higher ones."),
  event: z.discriminatedUnion("kind", [
    ...stepEvent.options,
    previewStep.extend({ kind: z.literal("preview"), part: imagePart }),
    z.object({ kind: z.literal("over").describe("It has ended, or was given back: the record says which.") }),
  ]),
});

/** To the node that holds the request. */
export const feedQuestion = z.object({
  v: z.literal(WIRE_VERSION),
  id: z.string(),
  run: count.nullable(),
  after: count.describe("The last place of that run that the asker has."),
  rest: z
    .object({ n: count, from: count })
    .optional()
    .describe("Only more bytes of the preview at this place, which an answer has begun."),
});

/** The payload has the bytes of the preview's images, one after the other; or the first of them, where a message does not hold all. */
export const feedAnswer = z.object({
  run: count.nullable().describe("Null when this node does not hold the request."),
  entries: z.array(numbered.extend({ event: stepEvent })),
  preview: numbered.extend({ event: previewStep, images: z.array(imagePart.extend({ bytes: count })) }).nullable(),
  logs: z.array(logLine),
});

export type StepEvent = z.infer<typeof stepEvent>;
export type DurableEvent = z.infer<typeof durableEvent>;
export type FeedAnswer = z.infer<typeof feedAnswer>;

/** Places in a run, at most; runs are numbered by the store, which may write 2^33 times. */
const PLACES = 2 ** 20;

/** One number for both: greater for later runs, and for later places of a run. */
export function sequenceOf(run: number, n: number): number {
  return run * PLACES + Math.min(n, PLACES - 1);
}

export function runOf(sequence: number): { readonly run: number; readonly n: number } {
  return { run: Math.floor(sequence / PLACES), n: sequence % PLACES };
}

export function isControl({ kind }: Pick<JobEvent, "kind">): boolean {
  return kind === "started" || kind === "progress";
}

/** Undefined for a preview, and for the end of the job, which says nothing about the request yet. */
export function toStepEvent({ event }: Entry): StepEvent | undefined {
  switch (event.kind) {
    case "queued":
      return { kind: "queued", position: event.position, estimate_ms: event.estimateMs };
    case "started":
      return { kind: "started", total_steps: event.totalSteps };
    case "progress":
      return { kind: "progress", step: event.step, total_steps: event.totalSteps };
    default:
      return undefined;
  }
}

export function toJobEvent(event: StepEvent): JobEvent {
  switch (event.kind) {
    case "queued":
      return { kind: "queued", position: event.position, estimateMs: event.estimate_ms };
    case "started":
      return { kind: "started", totalSteps: event.total_steps };
    case "progress":
      return { kind: "progress", step: event.step, totalSteps: event.total_steps };
  }
}
