/** Reads a command's arguments: known flags only, each mistake one line with a suggestion. */
import { parseArgs } from "node:util";

export interface FlagDefinition {
  /** What stands for the value in help texts, such as `N`; a flag without one is a switch. */
  readonly value?: string;
  readonly short?: string;
  /** May be given several times; the values have line breaks between. */
  readonly isRepeatable?: true;
  readonly help: string;
}

export type FlagTable = Readonly<Record<string, FlagDefinition>>;

export interface Arguments {
  readonly values: Readonly<Record<string, string | undefined>>;
  readonly switches: ReadonlySet<string>;
  readonly positionals: readonly string[];
}

/** The command line is wrong; the message says how, in one line. */
export class UsageError extends Error {
  override readonly name = "UsageError";
}

/** Throws {@link UsageError} for flags that the table does not have, missing values and values that a switch does not take. */
export function readArguments(args: readonly string[], flags: FlagTable): Arguments {
  const { tokens } = parseArgs({ args: [...args], options: parserOptions(flags), strict: false, tokens: true });
  const values: Record<string, string | undefined> = {};
  const switches = new Set<string>();
  const positionals: string[] = [];
  for (const token of tokens) {
    if (token.kind === "positional") positionals.push(token.value);
    if (token.kind !== "option") continue;
    const definition = flags[token.name];
    if (definition === undefined) throw unknownFlag(token.rawName, flags);
    if (definition.value === undefined) {
      if (token.value !== undefined) throw new UsageError(`${token.rawName} takes no value`);
      switches.add(token.name);
    } else {
      const value = valueOf(token, definition.value);
      values[token.name] = definition.isRepeatable === true ? oneMore(values[token.name], value) : value;
    }
  }
  return { values, switches, positionals };
}

/** A line each. A line break in front of a first value says that its commas are part of the text. */
function oneMore(before: string | undefined, value: string): string {
  return before === undefined && !value.includes(",") ? value : `${before ?? ""}\n${value}`;
}

/** The nearest of the known words within two typing mistakes, or undefined. */
export function suggest(word: string, known: readonly string[]): string | undefined {
  const [best] = known
    .map((candidate) => ({ candidate, distance: editDistance(word, candidate) }))
    .toSorted((a, b) => a.distance - b.distance);
  return best !== undefined && best.distance <= 2 && best.distance < word.length ? best.candidate : undefined;
}

function parserOptions(flags: FlagTable): Record<string, { type: "string" | "boolean"; short?: string }> {
  return Object.fromEntries(
    Object.entries(flags).map(([name, { value, short }]) => [
      name,
      { type: value === undefined ? "boolean" : "string", ...(short === undefined ? {} : { short }) } as const,
    ]),
  );
}

function valueOf(
  token: { readonly rawName: string; readonly value: string | undefined; readonly inlineValue: boolean | undefined },
  placeholder: string,
): string {
  const { rawName, value, inlineValue } = token;
  // `--port --host x` has eaten the next flag; a negative number is a value, and validated as one.
  const isFlag = value !== undefined && inlineValue !== true && /^--?[a-z]/i.test(value);
  if (value === undefined || isFlag) throw new UsageError(`${rawName} needs a value: ${rawName} ${placeholder}`);
  return value;
}

function unknownFlag(rawName: string, flags: FlagTable): UsageError {
  const suggestion = suggest(rawName.replace(/^-+/, ""), Object.keys(flags));
  const advice = suggestion === undefined ? "--help lists them" : `did you mean --${suggestion}?`;
  return new UsageError(`unknown flag ${rawName}; ${advice}`);
}

/** Levenshtein's distance, one row at a time. */
function editDistance(from: string, to: string): number {
  let row = Array.from({ length: to.length + 1 }, (_, index) => index);
  for (const [i, left] of from.split("").entries()) {
    const next = [i + 1];
    for (const [j, right] of to.split("").entries()) {
      const replaced = (row[j] ?? 0) + (left === right ? 0 : 1);
      next.push(Math.min(replaced, (row[j + 1] ?? 0) + 1, (next[j] ?? 0) + 1));
    }
    row = next;
  }
  return row[to.length] ?? 0;
}
