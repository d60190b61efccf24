/** Help texts, made from the same tables that the arguments are read with. */
import type { FlagTable } from "./arguments.ts";
import type { CliCommand } from "./command.ts";

const WIDTH = 100;
const INDENT = 26;

export function overallHelp(commands: Readonly<Record<string, { readonly summary: string }>>): string {
  const lines = Object.entries(commands).map(([name, { summary }]) => row(`latentcast ${name}`, summary));
  return [
    "Serve Stable Diffusion XL from your own GPU and stream images while they form.",
    "",
    ...lines,
    "",
    row("latentcast COMMAND --help", "The flags of a command"),
    row("latentcast --version", "The version"),
  ].join("\n");
}

export function commandHelp(
  usage: string,
  summary: string,
  { flags, notes = [] }: Pick<CliCommand, "flags" | "notes">,
): string {
  return [usage, "", `${summary}.`, "", ...flagRows(flags), ...notes.flatMap((note) => ["", ...note.split("\n")])].join(
    "\n",
  );
}

function flagRows(flags: FlagTable): string[] {
  return Object.entries(flags).map(([name, { short, value, help }]) => {
    const both = short === undefined ? `--${name}` : `-${short}, --${name}`;
    return row(value === undefined ? both : `${both} ${value}`, help);
  });
}

/** A name, and beside it its text, wrapped. */
export function row(name: string, text: string): string {
  const lines = wrap(text, WIDTH - INDENT);
  const first = `  ${name}`;
  const start = first.length < INDENT ? [first.padEnd(INDENT) + (lines.shift() ?? "")] : [first];
  return [...start, ...lines.map((line) => " ".repeat(INDENT) + line)].join("\n");
}

function wrap(text: string, width: number): string[] {
  const lines: string[] = [];
  let line = "";
  for (const word of text.split(" ")) {
    if (line !== "" && line.length + 1 + word.length > width) {
      lines.push(line);
      line = word;
    } else {
      line = line === "" ? word : `${line} ${word}`;
    }
  }
  return [...lines, line];
}
