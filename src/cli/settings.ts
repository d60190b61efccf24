/** Flags and help lines of the settings table. */
import { loadConfig, type Config } from "../config.ts";
import { SETTINGS } from "../config/settings.ts";
import type { FlagDefinition, FlagTable } from "./arguments.ts";
import type { CommandContext } from "./command.ts";

/** The flags of the named settings, or of all that have one. */
export function settingFlags(only?: readonly string[]): FlagTable {
  const flags: Record<string, FlagDefinition> = {};
  for (const { flag, env, help, ...setting } of Object.values(SETTINGS).map(withFlag)) {
    if (flag === undefined || (only !== undefined && !only.includes(flag))) continue;
    const fallback = setting.defaultText ?? setting.default;
    const text = `${help} [${env.join(", ")}; default ${fallback}]`;
    flags[flag] = { value: "VALUE", help: text, ...(setting.isRepeatable ? { isRepeatable: true } : {}) };
  }
  return flags;
}

/** Names and help of the settings that have a variable only. */
export function variableNotes(): string[] {
  return Object.values(SETTINGS)
    .map(withFlag)
    .filter(({ flag }) => flag === undefined)
    .map(({ env, help, ...setting }) => `${env[0] ?? ""}  ${help} [default ${setting.defaultText ?? setting.default}]`);
}

export function configOf({ args, env, terminal }: CommandContext): Config {
  return loadConfig({ env, flags: args.values, warn: (text) => terminal.note(`latentcast: ${text}`) });
}

interface SettingTexts {
  readonly env: readonly string[];
  readonly flag?: string;
  readonly isRepeatable?: true;
  readonly default: string;
  readonly defaultText?: string;
  readonly help: string;
}

function withFlag(setting: SettingTexts): SettingTexts {
  return setting;
}
