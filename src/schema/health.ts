/** What `GET /health` and `GET /ready` answer. Browser-safe. */
import { z } from "zod";

const loading = z.looseObject({ stage: z.string(), progress: z.number().nullable(), detail: z.string().nullable() });

const worker = z.looseObject({
  slot: z.int(),
  state: z.string(),
  pid: z.int().nullable(),
  jobs: z.int().describe("Jobs that the worker holds, including those that it has not begun."),
  epoch: z.int().describe("Counts the processes of this slot."),
  restarts: z.int(),
  last_error: z.string().nullable(),
  loading: loading.optional().describe("While it loads."),
  device: z
    .looseObject({ id: z.string(), name: z.string(), memory_bytes: z.int(), dtype: z.string() })
    .optional()
    .describe("Once it is ready, like the fields below."),
  versions: z.record(z.string(), z.string()).optional(),
  max_batch: z.int().optional().describe("Images that may share a call."),
  models: z.array(z.string()).optional().describe("Those that it holds, where the server has several."),
  vitals: z
    .looseObject({ iterations: z.int(), resident_bytes: z.int(), device_memory_bytes: z.int() })
    .optional()
    .describe("From the worker's newest report."),
});

const cluster = z.looseObject({
  pool: z.string().describe("Whose nodes draw what names no model."),
  pools: z
    .array(
      z.looseObject({
        name: z.string(),
        model: z.string().nullable().describe("Null until one of its nodes has said it."),
        nodes: z.int().describe("Nodes that take work."),
        waiting: z.int().describe("Jobs and requests that no node has begun, whichever gateway accepted them."),
      }),
    )
    .describe("All that this server has requests drawn by, that one first."),
  connected: z.boolean().describe("Whether the servers between the machines are reached."),
  gateways: z.int().describe("Gateways that are heard, this one included."),
  nodes: z.array(
    z.looseObject({
      name: z.string(),
      pool: z.string(),
      state: z
        .string()
        .describe("`ready`, `loading`, `draining`, `failed`, or `mismatch` beside the others of its pool."),
      reason: z.string().nullable().describe("Why it takes no work, where that is a fault."),
      version: z.string(),
      jobs: z.int().describe("Jobs and requests that it holds."),
      devices: z.array(
        z.looseObject({
          slot: z.int(),
          name: z.string(),
          jobs: z.int(),
          step_seconds: z.number().describe("At the model's native size."),
          first_preview_seconds: z.number().describe("Until one more job would show its first preview."),
          backlog_seconds: z.number().describe("Until everything that it holds is done."),
        }),
      ),
    }),
  ),
  deaths: z.int().describe("Nodes that this gateway has seen die."),
  reticketed: z.int().describe("Jobs whose ticket was lost and made again."),
});

const model = z.looseObject({
  id: z.string(),
  native_width: z.int(),
  native_height: z.int(),
  min_side: z.int(),
  max_side: z.int(),
  default_steps: z.int(),
  default_guidance_scale: z.number(),
  default_scheduler: z.string().nullable(),
  prediction_type: z.string().describe("What the model predicts: `epsilon`, `v_prediction` or `sample`."),
  distillation: z
    .string()
    .nullable()
    .describe("How the model was distilled to few steps, such as `lightning`; null if it was not."),
  is_noise: z.boolean().describe("The weights are random, and so are the images."),
  note: z.string().nullable(),
  examples: z.array(z.string()).describe("Prompts that suit this model."),
  vocabulary: z
    .looseObject({
      summary: z.string().describe('What the model paints, to be read after "paints".'),
      subjects: z.array(z.string()).describe("Words and phrases, in lower case, that name something it can paint."),
      modifiers: z.array(z.string()).describe("Words that say how: colours, sides. Alone they name nothing."),
    })
    .nullable()
    .describe("What a small model knows; null for one that knows nearly everything."),
  takes_loras: z.boolean().describe("Whether the server has a folder of LoRAs."),
});

/** What the service knows of itself at any moment. */
export const serviceSnapshot = z.looseObject({
  status: z.enum(["loading", "ready", "busy", "draining", "failed"]),
  version: z.string(),
  shortcuts: z
    .array(z.string())
    .describe("What makes images faster and different from the model's own; usually empty."),
  loading: loading.optional().describe("While the model loads."),
  reason: z.string().optional().describe("When no worker can be started."),
  model: model.nullable().describe("What requests get that name no model; null until the first worker is ready."),
  models: z
    .array(
      model.extend({
        is_loaded: z.boolean().describe("Whether a worker holds it now; another one is loaded when it is asked for."),
        problem: z.string().nullable().describe("Why it could not be loaded when it was last tried."),
      }),
    )
    .optional()
    .describe("All that requests may name, where there are several."),
  unserved_models: z
    .array(z.looseObject({ id: z.string(), problem: z.string() }))
    .optional()
    .describe("Those that cannot be served, where there are several."),
  queue: z.looseObject({
    waiting: z.int().describe("Requests that have not begun to be drawn."),
    unfinished: z.int(),
  }),
  workers: z.array(worker),
  cluster: cluster.optional().describe("The fleet as this gateway hears it; absent on a single machine."),
  counters: z.looseObject({
    accepted: z.int(),
    succeeded: z.int(),
    failed: z.int(),
    cancelled: z.int(),
    previews: z.int(),
    previews_dropped: z.int().describe("Previews that slow clients missed."),
    cancelled_device_seconds: z.number().describe("Device time spent on jobs that were then cancelled."),
    restarts: z.int(),
    stale: z.int().describe("Messages about jobs or processes that have ended."),
    garbage: z.int().describe("Messages from workers that could not be decoded."),
  }),
});

export const health = serviceSnapshot.extend({
  loras: z.array(z.string()).describe("Names of the LoRAs that requests may use."),
});

export const ready = z.object({ status: z.enum(["ready", "busy"]) });

export type ServiceSnapshot = z.infer<typeof serviceSnapshot>;
export type Health = z.infer<typeof health>;
