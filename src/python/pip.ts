/** Installs pinned requirements with pip and the user's own pip settings, and says how far it is. */
import { pythonModule, runCommand, type CommandOptions, type ProgramResult } from "./command.ts";

type Env = Readonly<Record<string, string | undefined>>;

export interface PipProgress {
  /** Such as `downloading torch-2.13.0 (780.3 MB)`. */
  readonly text: string;
  /** Of the current download; null where pip does not say. */
  readonly fraction: number | null;
}

export interface PipOptions {
  readonly env: Env;
  readonly signal?: AbortSignal | undefined;
  readonly onProgress: (progress: PipProgress) => void;
}

/** These would install somewhere else than into the environment, or are keys that pip must not get. */
const DROPPED_VARIABLES = new Set([
  "PIP_TARGET",
  "PIP_PREFIX",
  "PIP_ROOT",
  "PIP_USER",
  "PYTHONHOME",
  "PYTHONPATH",
  "VIRTUAL_ENV",
  "LATENTCAST_API_KEYS",
]);

/** The first pip that reports downloads in lines that a program can read. */
const RAW_PROGRESS_SINCE: readonly [number, number] = [24, 1];

export function pipEnvironment(env: Env): Env {
  return Object.fromEntries(Object.entries(env).filter(([name]) => !DROPPED_VARIABLES.has(name)));
}

export async function pipInstall(
  python: string,
  requirements: string,
  { env, signal, onProgress }: PipOptions,
): Promise<ProgramResult> {
  const command: CommandOptions = { env: pipEnvironment(env), signal, onLine: pipReader(onProgress) };
  const flags = ["--no-user", "--no-input", "--no-color", "--disable-pip-version-check"];
  const bar = (await hasRawProgress(python, command)) ? "raw" : "off";
  const args = pythonModule("pip", "install", ...flags, `--progress-bar=${bar}`, "-r", requirements);
  return runCommand(python, args, command);
}

/** Reads pip's output line by line and reports each new phase, and each whole per cent of a download. */
export function pipReader(onProgress: (progress: PipProgress) => void): (line: string) => void {
  let text = "";
  let lastPercent = -1;
  const report = (next: string): void => {
    text = next;
    lastPercent = -1;
    onProgress({ text, fraction: null });
  };
  return (line) => {
    const progress = /^Progress (\d+) of (\d+)$/.exec(line.trim());
    if (progress !== null) {
      const fraction = Number(progress[1]) / Math.max(1, Number(progress[2]));
      const percent = Math.floor(fraction * 100);
      if (percent === lastPercent) return;
      lastPercent = percent;
      onProgress({ text, fraction });
      return;
    }
    const phase = phaseOf(line);
    if (phase !== null) report(phase);
  };
}

function phaseOf(line: string): string | null {
  const [, verb, rest] =
    /^\s*(Collecting|Downloading|Using cached|Processing|Building wheel for)\s+(.*)$/.exec(line) ?? [];
  switch (verb) {
    case "Collecting":
      return `resolving ${requirementName(rest)}`;
    case "Downloading":
      return `downloading ${fileName(rest)}`;
    case "Using cached":
    case "Processing":
      return `found ${fileName(rest)}`;
    case "Building wheel for":
      return `building ${requirementName(rest)}`;
    default: {
      const list = /^Installing collected packages: (.*)$/.exec(line)?.[1];
      return list === undefined ? null : `installing ${list.split(",").length} packages`;
    }
  }
}

function requirementName(text = ""): string {
  return text.split(/[\s(;]/, 1)[0] ?? text;
}

/** `https://…/torch-2.13.0-cp311-none-linux.whl (780.3 MB)` becomes `torch-2.13.0 (780.3 MB)`. */
function fileName(text = ""): string {
  const [, path = text, size = ""] = /^(\S+)\s*(\([\d.]+ [kMG]?B\))?/.exec(text) ?? [];
  const file = path.slice(path.lastIndexOf("/") + 1);
  const release = /^([^-]+-[^-]+)-/.exec(file)?.[1] ?? file;
  return size === "" ? release : `${release} ${size}`;
}

async function hasRawProgress(python: string, options: CommandOptions): Promise<boolean> {
  const { env, signal } = options;
  const { stdout } = await runCommand(python, ["-I", "-c", "import pip; print(pip.__version__)"], { env, signal });
  const [major = 0, minor = 0] = (stdout[0] ?? "").split(".").map(Number);
  return major > RAW_PROGRESS_SINCE[0] || (major === RAW_PROGRESS_SINCE[0] && minor >= RAW_PROGRESS_SINCE[1]);
}
