import { describe, expect, it } from "vitest";
import { halfBlocks } from "../../../src/cli/half-blocks.ts";
import { row } from "../../../src/cli/help.ts";
import { openTerminal, type Terminal } from "../../../src/cli/terminal.ts";

function open(isTTY: boolean, env = {}): { terminal: Terminal; out: string[]; err: string[] } {
  const out: string[] = [];
  const err: string[] = [];
  const sink = (lines: string[]) => ({ write: (text: string) => lines.push(text) > 0, isTTY, columns: 40, rows: 10 });
  return { terminal: openTerminal(sink(out), sink(err), env), out, err };
}

describe("output that is not a terminal", () => {
  it("gets a line whenever the text changes, and none when only the fraction does", () => {
    const { terminal, err } = open(false);
    terminal.progress("step 1", 0.1);
    terminal.progress("step 1", 0.2);
    terminal.progress("step 2", 0.5);
    expect(err).toEqual(["step 1\n", "step 2\n"]);
  });

  it("gets no control characters", () => {
    const { terminal, out, err } = open(false);
    terminal.progress("a", 0.5);
    terminal.note("b");
    terminal.print("c");
    expect([...out, ...err].join("")).not.toMatch(/[\r\u001B]/);
  });
});

describe("an interactive terminal", () => {
  it("rewrites one line, no wider than the terminal", () => {
    const { terminal, err } = open(true);
    terminal.progress("x".repeat(100), 0.5);
    const [line = ""] = err;
    expect(line).toContain("50 %");
    expect(line.replace("\r\u001B[2K", "").length).toBeLessThan(40);
  });

  it("clears the line before the result is printed", () => {
    const { terminal, out, err } = open(true);
    terminal.progress("busy");
    terminal.print("done");
    expect(err.at(-1)).toBe("\r\u001B[2K");
    expect(out).toEqual(["done\n"]);
  });

  it("draws over what it drew before", () => {
    const { terminal, err } = open(true);
    terminal.draw(["a", "b"]);
    terminal.draw(["c", "d"]);
    expect(err.join("")).toContain("\u001B[2A");
  });

  it.each([{ TERM: "dumb" }, { CI: "true" }])("is none with %j", (env) => {
    expect(open(true, env).terminal.isInteractive).toBe(false);
  });
});

describe("halfBlocks", () => {
  it("shows two rows of pixels in one line, the upper in front", () => {
    const rgb = Buffer.from([1, 2, 3, 4, 5, 6]);
    expect(halfBlocks({ rgb, width: 1, height: 2 })).toEqual(["\u001B[38;2;1;2;3;48;2;4;5;6m▀"]);
  });

  it("leaves the terminal's background below an odd last row", () => {
    const rgb = Buffer.from([1, 2, 3]);
    expect(halfBlocks({ rgb, width: 1, height: 1 })).toEqual(["\u001B[38;2;1;2;3;49m▀"]);
  });

  it("says a colour once for a run of equal cells", () => {
    const rgb = Buffer.alloc(2 * 2 * 3, 7);
    expect(halfBlocks({ rgb, width: 2, height: 2 })[0]?.match(/38;2/g)).toHaveLength(1);
  });
});

describe("row", () => {
  it("wraps the text beside the name", () => {
    const lines = row("--flag VALUE", "word ".repeat(40).trim()).split("\n");
    expect(lines.length).toBeGreaterThan(1);
    for (const line of lines) expect(line.length).toBeLessThanOrEqual(100);
  });
});
