import { describe, expect, it } from "vitest";
import { CallerTurns, type CallerTurn } from "../../../src/jobs/caller-turns.ts";

const never = new AbortController().signal;

/** Takes a turn and notes by name when it has it. */
function taking(turns: CallerTurns) {
  const order: string[] = [];
  const held = new Map<string, CallerTurn>();
  const take = (name: string, caller: string, signal: AbortSignal = never, pool = "own"): void => {
    void turns.take({ caller, pool }, signal).then((turn) => {
      order.push(turn === undefined ? `${name} left` : name);
      if (turn !== undefined) held.set(name, turn);
    });
  };
  return { order, take, end: (name: string) => held.get(name)!.end() };
}

const settled = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

describe("the turns of callers", () => {
  it("one caller has as many as the limit says, and the others do not wait for it", async () => {
    const { order, take, end } = taking(new CallerTurns(() => 2));
    for (const name of ["a1", "a2", "a3", "a4"]) take(name, "a");
    take("b1", "b");
    await settled();
    expect(order).toEqual(["a1", "a2", "b1"]);
    end("a2");
    await settled();
    expect(order).toEqual(["a1", "a2", "b1", "a3"]);
  });

  it("in one pool take nothing from those in another, and each pool has its own limit", async () => {
    const { order, take, end } = taking(new CallerTurns((pool) => (pool === "big" ? 2 : 1)));
    for (const name of ["small1", "small2"]) take(name, "a", never, "small");
    for (const name of ["big1", "big2", "big3"]) take(name, "a", never, "big");
    await settled();
    expect(order).toEqual(["small1", "big1", "big2"]);
    end("small1");
    await settled();
    expect(order).toEqual(["small1", "big1", "big2", "small2"]);
  });

  it("a turn that is ended twice frees one place", async () => {
    const { order, take, end } = taking(new CallerTurns(() => 1));
    for (const name of ["a1", "a2", "a3"]) take(name, "a");
    await settled();
    end("a1");
    end("a1");
    await settled();
    expect(order).toEqual(["a1", "a2"]);
  });

  it("one that leaves while it waits takes no place", async () => {
    const { order, take, end } = taking(new CallerTurns(() => 1));
    const leaving = new AbortController();
    take("a1", "a");
    take("a2", "a", leaving.signal);
    take("a3", "a");
    take("gone", "a", AbortSignal.abort());
    leaving.abort();
    await settled();
    end("a1");
    await settled();
    expect(order).toEqual(["a1", "gone left", "a2 left", "a3"]);
  });
});
