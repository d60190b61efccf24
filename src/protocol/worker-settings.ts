/**
 * What a worker process is started with: one JSON document, the argument of `--settings`.
 *
 * A new setting is a field here, a line in `src/worker/launch.ts` and the place that uses it; the Python dataclass is generated
 * (`python/latentcast_worker/settings.py`).
 */
import { z } from "zod";
import { FEW_STEP_KINDS } from "./params.ts";

export const SHORTCUTS = ["cfg-cutoff", "step-cache", "few-step"] as const;

export const PREDICTION_TYPES = ["epsilon", "v_prediction", "v_prediction_zero_snr"] as const;
export const DISTILLATIONS = ["none", ...FEW_STEP_KINDS] as const;

/** What a model's UNet predicts; `model/checkpoint/prediction.py` says what follows from it. */
export const predictionType = z.enum(PREDICTION_TYPES);
/** Ways in which models are distilled to few steps; `few-step.ts` has their defaults. */
export const distillation = z.enum(DISTILLATIONS);
export const shortcutName = z.enum(SHORTCUTS);
/** By torch's names. A worker sees at most one device of a kind, through variables of its driver. */
export const torchDevice = z.enum(["cpu", "cuda:0", "xpu:0", "mps"]);

export const cpuShare = z
  .object({ index: z.int().min(0), count: z.int().min(1) })
  .describe("Part `index` of `count` equal parts of the cores.");

export const workerSettings = z.object({
  endpoint: z.string().min(1).describe("ZeroMQ address that the orchestrator listens on."),
  slot: z.int().min(0),
  incarnation: z.int().min(0).describe("Counts the processes of the slot; it stands on every message about a job."),
  models: z
    .array(z.string().min(1))
    .min(1)
    .describe("Hub ids, diffusers folders, files, folders of models, `demo`, or `noise` for random weights."),
  tiny_vae: z.string().min(1).describe("Hub id or folder of the preview decoder."),
  device: torchDevice,
  cpu_share: cpuShare.nullable().describe("Which cores to use; null is all of them."),
  cache_dir: z.string().min(1).describe("Where calibrations, compiled kernels and built models are kept."),
  max_batch: z.int().min(1).nullable().describe("Most images per UNet call; 1 is exact, null measures what pays."),
  vae: z.string().min(1).nullable().describe("Hub id, folder or file of another VAE; null is the model's own."),
  prediction_type: predictionType.nullable().describe("null believes the model."),
  distillation: distillation.nullable().describe("null goes by the model's name."),
  lora_dir: z.string().min(1).nullable().describe("Folder of the LoRAs that requests may name; null has none."),
  shortcuts: z.array(shortcutName).describe("Each changes the images."),
});

export type WorkerSettings = z.infer<typeof workerSettings>;
export type Shortcut = z.infer<typeof shortcutName>;
