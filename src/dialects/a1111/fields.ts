/** The fields of a request, brought into one form: nulls left out, numbers that came as text, and what asks for nothing here. */

const NUMBERS: ReadonlySet<string> = new Set([
  ...["seed", "batch_size", "n_iter", "steps", "cfg_scale", "width", "height", "clip_skip", "denoising_strength"],
  ...["mask_blur", "inpainting_fill", "resize_mode", "subseed_strength"],
]);

/**
 * Fields of the web UI that say nothing to a server without files, grids, scripts or a second pass, or that every client sends with the
 * value that changes nothing. All others that nobody knows are named in the warnings.
 */
const MEANINGLESS =
  /^(hr_\w+|firstphase_(width|height)|do_not_save_\w+|override_settings_restore_afterwards|script_args|subseed|seed_resize_from_[hw]|eta|s_(churn|tmin|tmax|noise|min_uncond)|image_cfg_scale|initial_noise_multiplier|inpaint_full_res_padding|mask_round|disable_extra_networks|comments|infotext|refiner_switch_at|use_async)$/;

export function meaningfulFields(body: unknown): unknown {
  if (typeof body !== "object" || body === null || Array.isArray(body)) return body;
  const entries = Object.entries(body).flatMap(([name, value]: [string, unknown]) => {
    if (value === null || MEANINGLESS.test(name)) return [];
    return [[name, NUMBERS.has(name) ? readNumber(value) : value]];
  });
  return Object.fromEntries(entries);
}

function readNumber(value: unknown): unknown {
  return typeof value === "string" && /^-?\d+(\.\d+)?$/.test(value) ? Number(value) : value;
}
