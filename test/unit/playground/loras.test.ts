import { expect, it } from "vitest";
import { readLoras, toLoraInput, writeLoras } from "../../../src/playground/loras.ts";

it("the text of LoRAs is read as it was written, whatever their names hold", () => {
  const loras = [
    { path: "a, b: c/50%", scale: "0.5" },
    { path: "watercolour", scale: "" },
  ];
  expect(readLoras(writeLoras(loras))).toEqual(loras);
  expect(readLoras("")).toEqual([]);
});

it("the text of a link that was cut is read as far as it goes", () => {
  expect(readLoras("a%2")).toEqual([{ path: "a%2", scale: "1" }]);
});

it("a weight that is no number is left to the server", () => {
  expect(toLoraInput("a:0.5,b:,c:much")).toEqual([
    { path: "a", scale: 0.5 },
    { path: "b", scale: 1 },
    { path: "c", scale: "much" },
  ]);
});
