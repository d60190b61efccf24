import { describe, expect, it } from "vitest";
import { spawnChild, type Launch } from "../../../src/processes/child.ts";

function start(launch: Partial<Launch>) {
  return spawnChild({ file: process.execPath, args: [], env: {}, ...launch }, () => undefined);
}

describe("spawnChild", () => {
  it.each<[string, Partial<Launch>, RegExp]>([
    ["a program that does not exist", { file: "/nowhere/python" }, /ENOENT/],
    ["a folder that does not exist", { cwd: "/nowhere" }, /ENOENT/],
    ["arguments that are too long", { args: ["x".repeat(2 ** 21)] }, /E2BIG/],
  ])("%s is told as the end of the child", async (_case, launch, reason) => {
    const child = start(launch);
    const exit = await child.exited;
    expect(child.pid).toBeUndefined();
    expect(exit).toMatchObject({ code: null, signal: null, spawnError: expect.stringMatching(reason) });
    expect(await child.stop(1_000)).toEqual(exit);
  });
});
