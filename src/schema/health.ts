/** What `GET /health` and `GET /ready` answer. Browser-safe. */
import { z } from "zod";

const loading = z.looseObject({ stage: z.string(), progress: z.number().nullable(), detail: z.string().nullable() });

export const health = z.looseObject({
  status: z.enum(["loading", "ready", "busy", "draining", "failed"]),
  version: z.string(),
  shortcuts: z.array(z.string()).describe("What makes pictures faster and other than the model's own; usually empty."),
  loading: loading.optional().describe("While the model loads."),
  reason: z.string().optional().describe("When no worker can be started."),
  model: z
    .looseObject({
      id: z.string(),
      native_width: z.int(),
      native_height: z.int(),
      min_side: z.int(),
      max_side: z.int(),
      default_steps: z.int(),
      default_guidance_scale: z.number(),
      is_noise: z.boolean().describe("The weights are random, and so are the pictures."),
      note: z.string().nullable(),
      examples: z.array(z.string()).describe("Prompts that suit this model."),
    })
    .nullable()
    .describe("What is loaded; null until the first worker is ready."),
  queue: z.looseObject({ waiting: z.int(), unfinished: z.int() }),
  workers: z.array(z.looseObject({ slot: z.int(), state: z.string(), pid: z.int().nullable(), jobs: z.int() })),
  counters: z.record(z.string(), z.number()),
});

export const ready = z.object({ status: z.enum(["ready", "busy"]) });
