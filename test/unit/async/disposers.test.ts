import { expect, it } from "vitest";
import { Disposers } from "../../../src/async/disposers.ts";

it("what was opened is closed once, in reverse order, also after a step that fails, and the failure is reported", async () => {
  const closed: string[] = [];
  const open = new Disposers();
  open.add(() => closed.push("first"));
  open.add(async () => {
    closed.push("second");
    throw new Error("stuck");
  });
  open.add(() => closed.push("third"));
  open.closing.addEventListener("abort", () => closed.push("signal"));
  await expect(open.close()).rejects.toThrow("stuck");
  await expect(open.close()).rejects.toThrow("stuck");
  expect(closed).toEqual(["signal", "third", "second", "first"]);
});
