/** The settings that programs read and send back. None of them can be changed: there is one model, and requests say the rest. */
import { LatentcastError } from "../../errors.ts";
import { checkpointOf, requireCheckpoint } from "./checkpoint.ts";

/** @param loaded The id of the model, undefined while there is none. */
export function currentOptions(loaded: string | undefined): Readonly<Record<string, unknown>> {
  return {
    sd_model_checkpoint: loaded === undefined ? null : checkpointOf(loaded).title,
    sd_checkpoint_hash: "",
    sd_vae: "Automatic",
    CLIP_stop_at_last_layers: 1,
    samples_format: "png",
    samples_save: false,
    grid_save: false,
    return_grid: false,
    live_previews_enable: true,
    live_previews_image_format: "jpeg",
    show_progress_every_n_steps: 1,
    show_progress_grid: false,
    live_preview_refresh_period: 250,
    eta_noise_seed_delta: 0,
  };
}

/** Programs change one setting, or send all of them back. Throws `not_found` for a model that is not here. */
export function checkOptions(
  { sd_model_checkpoint: checkpoint }: { readonly sd_model_checkpoint?: string | null | undefined },
  loaded: string | undefined,
): void {
  if (checkpoint === undefined || checkpoint === null || checkpoint === "") return;
  if (loaded === undefined)
    throw new LatentcastError("worker_unavailable", { message: "The model is still loading.", retryAfterSeconds: 2 });
  requireCheckpoint(checkpoint, loaded);
}
