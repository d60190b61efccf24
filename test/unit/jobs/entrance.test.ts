import { expect, it } from "vitest";
import { Entrance } from "../../../src/jobs/entrance.ts";

it("places in one pool are not places in another, and each is given back once", () => {
  const nothing = (): void => undefined;
  const places = new Entrance({ phase: () => "open", cancel: nothing, add: nothing });
  const [one, two] = [places.promise("a"), places.promise("a")];
  places.promise("b");
  expect([places.promisedTo("a"), places.promisedTo("b"), places.promisedTo("c"), places.promised]).toEqual([
    2, 1, 0, 3,
  ]);
  one.consume();
  one.release();
  expect([places.promisedTo("a"), places.promised]).toEqual([1, 2]);
  two.release();
  expect([places.promisedTo("a"), places.promised]).toEqual([0, 1]);
});
