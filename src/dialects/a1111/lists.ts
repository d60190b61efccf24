/** What programs ask for when they start. Most of it does not exist here; a 404 would be read as "no API". */
import { listSamplers, listSchedulers } from "./samplers.ts";

/** By the last part of the path. */
export const LISTS: Readonly<Record<string, unknown>> = {
  samplers: listSamplers(),
  schedulers: listSchedulers(),
  upscalers: [],
  "latent-upscale-modes": [],
  "sd-vae": [],
  "prompt-styles": [],
  "face-restorers": [],
  hypernetworks: [],
  "realesrgan-models": [],
  embeddings: { loaded: {}, skipped: {} },
  scripts: { txt2img: [], img2img: [] },
  "script-info": [],
  extensions: [],
  "cmd-flags": {},
  memory: { ram: {}, cuda: {} },
  "system-info/status": {},
};
