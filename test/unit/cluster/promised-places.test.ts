import { expect, it } from "vitest";
import { PromisedPlaces } from "../../../src/cluster/gateway/promised-places.ts";

it("places in one pool are not places in another, and each is given back once", () => {
  const places = new PromisedPlaces();
  const [one, two] = [places.promise("a"), places.promise("a")];
  places.promise("b");
  expect([places.in("a"), places.in("b"), places.in("c"), places.total]).toEqual([2, 1, 0, 3]);
  one.consume();
  one.release();
  expect([places.in("a"), places.total]).toEqual([1, 2]);
  two.release();
  expect([places.in("a"), places.total]).toEqual([0, 1]);
});
