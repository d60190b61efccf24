/** The request of `latentcast generate`: checked as a whole before a model is loaded for it. */
import { readFile, stat } from "node:fs/promises";
import { dirname, extname } from "node:path";
import { generateInput, type GenerateInput, type OutputFormat } from "../schema/input.ts";
import { parseObject } from "../schema/parse.ts";
import { UsageError, type Arguments, type FlagTable } from "./arguments.ts";
import { PARAMETER_FLAGS } from "./parameter-flags.ts";
import { settingFlags } from "./settings.ts";
import type { Terminal } from "./terminal.ts";

const FORMATS: Readonly<Record<string, OutputFormat>> = {
  ".png": "png",
  ".jpg": "jpeg",
  ".jpeg": "jpeg",
  ".webp": "webp",
  ".avif": "avif",
};

export const GENERATE_FLAGS: FlagTable = {
  output: {
    short: "o",
    value: "FILE",
    help: "The file to write: .png, .jpg, .webp or .avif. Several become FILE-1, FILE-2, …",
  },
  ...Object.fromEntries(Object.entries(PARAMETER_FLAGS).map(([flag, { definition }]) => [flag, definition])),
  image: { value: "FILE", help: "The image to start from. Its shape is the result's, unless a size is given." },
  mask: { value: "FILE", help: "White where the image is to change. Needs --image." },
  lora: { value: "NAME:SCALE", help: "A LoRA in --lora-dir, several with commas between; 1 without a scale." },
  previews: { value: "FOLDER", help: "Write each preview to this folder." },
  show: { help: "Draw the previews in the terminal (24-bit colour)." },
  model: {
    value: "VALUE",
    isRepeatable: true,
    help: "What to draw with, as for `serve`; also the name of one of the models in LATENTCAST_MODEL. [LATENTCAST_MODEL; default auto]",
  },
  ...settingFlags(["tiny-vae", "vae", "lora-dir", "devices", "python"]),
};

export interface GenerateRequest {
  readonly input: GenerateInput;
  readonly output: string;
  readonly previews: string | null;
  readonly show: boolean;
}

/** Throws {@link UsageError} for everything that can be wrong with the request. */
export async function readGenerateRequest(
  { positionals, values, switches }: Arguments,
  terminal: Terminal,
): Promise<GenerateRequest> {
  const [prompt] = positionals;
  if (prompt === undefined)
    throw new UsageError('a prompt is missing: latentcast generate "a lighthouse at dusk" -o out.png');
  const { output, previews = null } = values;
  if (output === undefined) throw new UsageError("the output file is missing: -o out.png");
  const format = FORMATS[extname(output).toLowerCase()];
  if (format === undefined) throw new UsageError(`${output} does not end in ${Object.keys(FORMATS).join(", ")}`);
  if (!(await isFolder(dirname(output)))) throw new UsageError(`there is no folder ${dirname(output)}`);
  const show = switches.has("show");
  if (show && !terminal.isInteractive) throw new UsageError("--show needs a terminal");
  const input: Record<string, unknown> = { prompt, output_format: format };
  for (const [flag, { field, isNumber }] of Object.entries(PARAMETER_FLAGS)) {
    const value = values[flag];
    if (value !== undefined) input[field] = isNumber ? numberOf(flag, value) : value;
  }
  const { lora } = values;
  if (lora !== undefined) input["loras"] = lora.split(",").map(loraOf);
  if (values["mask"] !== undefined && values["image"] === undefined) throw new UsageError("--mask needs --image");
  for (const flag of ["image", "mask"]) {
    const file = values[flag];
    if (file !== undefined) input[`${flag}_url`] = await dataUriOf(flag, file);
  }
  // A terminal can draw every step, at most ten a second; files keep the default of every fifth step.
  if (show) input["preview"] = { every: 1, max_per_second: 10 };
  else if (previews === null) input["preview"] = false;
  return { input: checked(input), output, previews, show };
}

function numberOf(flag: string, value: string): number {
  const number = Number(value);
  if (value.trim() === "" || Number.isNaN(number))
    throw new UsageError(`--${flag}: ${JSON.stringify(value)} is not a number`);
  return number;
}

function loraOf(text: string): object {
  const [name = "", scale, ...rest] = text.split(":");
  if (name.trim() === "" || rest.length > 0) throw new UsageError(`--lora: ${JSON.stringify(text)} is not NAME:SCALE`);
  return { path: name.trim(), ...(scale === undefined ? {} : { scale: numberOf("lora", scale) }) };
}

async function dataUriOf(flag: string, file: string): Promise<string> {
  try {
    return `data:application/octet-stream;base64,${(await readFile(file)).toString("base64")}`;
  } catch {
    throw new UsageError(`--${flag}: ${file} cannot be read`);
  }
}

async function isFolder(path: string): Promise<boolean> {
  try {
    return (await stat(path)).isDirectory();
  } catch {
    return false;
  }
}

function checked(input: Record<string, unknown>): GenerateInput {
  const parsed = parseObject(generateInput, input);
  if (parsed.ok) return parsed.input;
  const flagOf = new Map(Object.entries(PARAMETER_FLAGS).map(([flag, { field }]) => [field, `--${flag}`]));
  flagOf.set("loras", "--lora");
  const messages = parsed.problems.map(({ loc, msg }) => {
    const field = loc[1] ?? "prompt";
    return `${flagOf.get(field) ?? field}: ${msg}`;
  });
  throw new UsageError(messages.join("; "));
}
