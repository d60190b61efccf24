/** Where a command writes: results on stdout, progress and notes on stderr. */
import type { Output } from "./output.ts";

export interface Terminal {
  /** Whether lines can be rewritten and colours shown. */
  readonly isInteractive: boolean;
  readonly columns: number;
  readonly rows: number;
  /** A line of the result. */
  print(text: string): void;
  /** A line of progress or advice. */
  note(text: string): void;
  /** A line of a log, with its line break: to stderr where it is read in a terminal, else to stdout. */
  log(line: string): void;
  /** Whether {@link log} was used: the program then is a server, and goes on when nobody reads its output. */
  readonly isLogging: boolean;
  /**
   * How far something is. Interactive: one line, rewritten until the next {@link note}. Otherwise a line whenever `text` changes;
   * `fraction` alone does not make one.
   */
  progress(text: string, fraction?: number | null): void;
  /** Rewrites a block of lines in place, above the progress line. Only for interactive terminals. */
  draw(lines: readonly string[]): void;
}

const BAR_WIDTH = 24;
const CLEAR_LINE = "\r\u001B[2K";

type Lines = Pick<Output, "write"> & Partial<Pick<Output, "isTTY" | "columns" | "rows">>;

export function openTerminal(out: Lines, err: Lines, env: Readonly<Record<string, string | undefined>>): Terminal {
  const isInteractive = err.isTTY === true && env["TERM"] !== "dumb" && env["CI"] === undefined;
  let shown = "";
  let drawnRows = 0;
  let isLogging = false;
  const clear = (): void => {
    if (isInteractive && shown !== "") err.write(CLEAR_LINE);
    shown = "";
  };
  return {
    isInteractive,
    // A terminal whose size was never set reports 0.
    get columns() {
      return err.columns || 80;
    },
    get rows() {
      return err.rows || 24;
    },
    print: (text) => {
      clear();
      out.write(`${text}\n`);
    },
    note: (text) => {
      clear();
      drawnRows = 0;
      err.write(`${text}\n`);
    },
    log: (line) => {
      isLogging = true;
      clear();
      (isInteractive ? err : out).write(line);
    },
    get isLogging() {
      return isLogging;
    },
    progress: (text, fraction = null) => {
      if (!isInteractive) {
        if (text !== shown) err.write(`${text}\n`);
        shown = text;
        return;
      }
      const line = fraction === null ? text : `${bar(fraction)} ${text}`;
      shown = cut(line, (err.columns || 80) - 1);
      err.write(`${CLEAR_LINE}${shown}`);
    },
    draw: (lines) => {
      clear();
      if (drawnRows > 0) err.write(`\u001B[${drawnRows}A`);
      err.write(lines.map((line) => `${line}\u001B[0m\u001B[K\n`).join(""));
      drawnRows = lines.length;
    },
  };
}

function bar(fraction: number): string {
  const filled = Math.round(Math.min(1, Math.max(0, fraction)) * BAR_WIDTH);
  return `${"█".repeat(filled)}${"░".repeat(BAR_WIDTH - filled)} ${String(Math.floor(fraction * 100)).padStart(3)} %`;
}

function cut(text: string, width: number): string {
  return text.length <= width ? text : `${text.slice(0, Math.max(0, width - 1))}…`;
}
