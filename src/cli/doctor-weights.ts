/** Whether the model's weights are on this machine, and how much there is to fetch when they are not. */
import { readdir } from "node:fs/promises";
import { join } from "node:path";
import type { Config } from "../config.ts";
import { homeFolder } from "../config/environment.ts";
import { packageRoot } from "../package-info.ts";
import { resolveModels } from "../worker/model-choice.ts";
import { fail, gigabytes, ok, warn, type Check } from "./doctor-checks.ts";
import { exists, MODEL_FILE, modelsInFolder } from "./models-folder.ts";

type Env = Readonly<Record<string, string | undefined>>;

/** fp16 SDXL base without its duplicates in other formats; other models of the family are of the same size. */
const SDXL_BYTES = 7 * 2 ** 30;
const TINY_VAE_BYTES = 10 * 2 ** 20;
const VAE_BYTES = 320 * 2 ** 20;
/** What every VAE has; without it the download was interrupted. */
const TINY_VAE_FILE = "config.json";
const VAE_FILE = "config.json";
/** A hub id, and perhaps the path of a file in its repository. */
const HUB_NAME = /^([\w.-]+\/[\w.-]+)(?:\/((?:[\w.-]+\/)*[\w.-]+\.safetensors))?$/;

export interface WeightsReport {
  readonly checks: readonly Check[];
  readonly missingBytes: number;
}

export async function checkWeights(config: Config, env: Env, usesCuda: boolean): Promise<WeightsReport> {
  const models = resolveModels(config.model, usesCuda);
  const found: Found[] = [];
  for (const model of models) found.push(await lookForModel(model, env));
  if (models.every((model) => model === "demo" || model === "noise")) return summed(found);
  return summed([
    ...found,
    await look("Tiny VAE", config.tinyVae, TINY_VAE_FILE, TINY_VAE_BYTES, env),
    ...(config.vae === null ? [] : [await look("VAE", config.vae, VAE_FILE, VAE_BYTES, env)]),
  ]);
}

interface Found {
  readonly check: Check;
  readonly missingBytes: number;
}

async function lookForModel(model: string, env: Env): Promise<Found> {
  if (model === "noise") return { check: ok("Model", "noise: random weights, made when needed"), missingBytes: 0 };
  if (model === "demo") {
    const folder = join(packageRoot(), "models", "demo");
    const isThere = await exists(join(folder, MODEL_FILE));
    const check = isThere
      ? ok("Model", "demo, comes with Latentcast")
      : fail("Model", "demo is not part of this installation", "use --model noise or a hub id");
    return { check, missingBytes: 0 };
  }
  const { length: inside } = await modelsInFolder(model);
  if (inside === 0) return look("Model", model, MODEL_FILE, SDXL_BYTES, env);
  return { check: ok("Model", `${model}, a folder of models: ${inside}`), missingBytes: 0 };
}

function summed(found: readonly Found[]): WeightsReport {
  return {
    checks: found.map(({ check }) => check),
    missingBytes: found.reduce((sum, { missingBytes }) => sum + missingBytes, 0),
  };
}

/** Where downloads from the Hugging Face hub are kept, by the hub library's own rules. */
export function hubCache(env: Env): string {
  const home = env["HF_HOME"] ?? join(env["XDG_CACHE_HOME"] ?? join(homeFolder(env) ?? "/", ".cache"), "huggingface");
  return env["HF_HUB_CACHE"] ?? env["HUGGINGFACE_HUB_CACHE"] ?? join(home, "hub");
}

async function look(name: string, id: string, file: string, bytes: number, env: Env): Promise<Found> {
  if (id.endsWith(".safetensors") && (await exists(id))) return { check: ok(name, id), missingBytes: 0 };
  if (await exists(id)) {
    const check = (await exists(join(id, file)))
      ? ok(name, id)
      : fail(name, `${id} has no ${file}`, "name a diffusers folder or a .safetensors file");
    return { check, missingBytes: 0 };
  }
  const [, repository, inside] = HUB_NAME.exec(id) ?? [];
  if (repository === undefined) {
    return { check: fail(name, `${id} is neither a folder nor a hub id`, "correct its name"), missingBytes: 0 };
  }
  if (await isCached(repository, inside ?? file, env))
    return { check: ok(name, `${id}, in the cache`), missingBytes: 0 };
  if (env["HF_HUB_OFFLINE"] === "1") {
    return { check: fail(name, `${id} is not in the cache`, "unset HF_HUB_OFFLINE to fetch it"), missingBytes: 0 };
  }
  const text = `${id} is not in the cache`;
  return { check: warn(name, text, `the first start fetches ${gigabytes(bytes)}`), missingBytes: bytes };
}

async function isCached(id: string, file: string, env: Env): Promise<boolean> {
  const snapshots = join(hubCache(env), `models--${id.replace("/", "--")}`, "snapshots");
  try {
    const revisions = await readdir(snapshots);
    const found = await Promise.all(revisions.map((revision) => exists(join(snapshots, revision, file))));
    return found.includes(true);
  } catch {
    return false;
  }
}
