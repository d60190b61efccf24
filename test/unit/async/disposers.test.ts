import { expect, it } from "vitest";
import { Disposers } from "../../../src/async/disposers.ts";

it("what was opened is closed once, in reverse order, also after a step that fails; the failure is told", async () => {
  const closed: string[] = [];
  const open = new Disposers();
  open.add(() => closed.push("first"));
  open.add(async () => {
    closed.push("second");
    throw new Error("stuck");
  });
  open.add(() => closed.push("third"));
  await expect(open.close()).rejects.toThrow("stuck");
  await expect(open.close()).rejects.toThrow("stuck");
  expect(closed).toEqual(["third", "second", "first"]);
});
