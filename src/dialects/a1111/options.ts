/** The settings that programs read and send back. Only the model can be changed, for the caller alone; requests say the rest. */
import { LatentcastError } from "../../errors.ts";
import { checkpointOf, findCheckpoint } from "./checkpoint.ts";

/** @param model The id of the caller's model, undefined while there is none. */
export function currentOptions(model: string | undefined): Readonly<Record<string, unknown>> {
  return {
    sd_model_checkpoint: model === undefined ? null : checkpointOf(model).title,
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

/** Programs change one setting, or send all of them back. The model they want; throws `not_found` for one that is not here. */
export function wantedModel(
  { sd_model_checkpoint: checkpoint }: { readonly sd_model_checkpoint?: string | null | undefined },
  models: readonly string[],
): string | undefined {
  if (checkpoint === undefined || checkpoint === null || checkpoint === "") return undefined;
  if (models.length === 0)
    throw new LatentcastError("worker_unavailable", { message: "The model is still loading.", retryAfterSeconds: 2 });
  return findCheckpoint(checkpoint, models);
}
