import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { nextInputs, noInputs, type Inputs, type Room } from "../../../../src/dialects/realtime/latest-wins.ts";

interface Input {
  readonly name: string;
  readonly mode: "finish" | "cancel";
  readonly bytes: number;
}

const input = (name: string, mode: Input["mode"] = "finish", bytes = 1): Input => ({ name, mode, bytes });

/** The machine with everything that it gave back, by name. */
function play(room: Partial<Room> = {}) {
  let inputs: Inputs<Input> = noInputs({ places: 1, maxBytes: 100, ...room });
  const superseded: string[] = [];
  let cancellations = 0;
  const apply = (change: Parameters<typeof nextInputs<Input>>[1]): void => {
    const step = nextInputs(inputs, change);
    inputs = step.inputs;
    superseded.push(...step.superseded.map(({ name }) => name));
    if (step.cancels) cancellations += 1;
  };
  return {
    superseded,
    arrive: (...args: Parameters<typeof input>) => apply({ kind: "arrived", input: input(...args) }),
    take: () => apply({ kind: "taken" }),
    show: () => apply({ kind: "shown" }),
    end: () => apply({ kind: "ended" }),
    close: () => apply({ kind: "closed" }),
    get waiting() {
      return inputs.waiting.map(({ name }) => name);
    },
    get running() {
      return inputs.running?.name;
    },
    get cancellations() {
      return cancellations;
    },
    get inputs() {
      return inputs;
    },
  };
}

describe("the inputs of a connection", () => {
  it("a newer one takes the place of the one that waits, and leaves the one that runs alone", () => {
    const game = play();
    game.arrive("a");
    game.take();
    game.arrive("b");
    game.arrive("c");
    expect([game.running, game.waiting, game.superseded, game.cancellations]).toEqual(["a", ["c"], ["b"], 0]);
  });

  it("several places are kept in order, and the oldest goes first", () => {
    const game = play({ places: 3 });
    for (const name of ["a", "b", "c", "d", "e"]) game.arrive(name);
    expect([game.waiting, game.superseded]).toEqual([
      ["c", "d", "e"],
      ["a", "b"],
    ]);
  });

  it("those that weigh too much together make room, and the newest always has it", () => {
    const game = play({ places: 60, maxBytes: 10 });
    game.arrive("a", "finish", 6);
    game.arrive("b", "finish", 5);
    expect([game.waiting, game.superseded]).toEqual([["b"], ["a"]]);
    game.arrive("huge", "finish", 11);
    expect(game.waiting).toEqual(["huge"]);
  });

  it("one in the mode cancel cancels the one that runs, once", () => {
    const game = play();
    game.arrive("a");
    game.take();
    game.arrive("b", "cancel");
    game.arrive("c", "cancel");
    expect([game.cancellations, game.superseded]).toEqual([1, ["b"]]);
  });

  it("after a cancellation the next one runs until it has shown an image", () => {
    const game = play();
    game.arrive("a");
    game.take();
    game.arrive("b", "cancel");
    game.end();
    game.take();
    game.arrive("c", "cancel");
    expect([game.running, game.cancellations]).toEqual(["b", 1]);
    game.show();
    expect(game.cancellations).toBe(2);
  });

  it("the end of a connection gives up what waits and lets what runs end", () => {
    const game = play();
    game.arrive("a");
    game.take();
    game.arrive("b");
    game.close();
    expect([game.running, game.waiting, game.superseded]).toEqual(["a", [], ["b"]]);
  });

  it("whatever happens, each is taken or superseded once, in order, and no two are cancelled without an image between", () => {
    const change = fc.oneof(
      { weight: 3, arbitrary: fc.record({ kind: fc.constant("arrive"), cancel: fc.boolean(), bytes: fc.nat(40) }) },
      { weight: 2, arbitrary: fc.record({ kind: fc.constantFrom("take", "show", "end") }) },
    );
    fc.assert(
      fc.property(fc.array(change, { maxLength: 60 }), fc.integer({ min: 1, max: 4 }), (changes, places) => {
        const game = play({ places });
        const taken: string[] = [];
        let arrived = 0;
        let shownSince = true;
        for (const each of changes) {
          const before = game.cancellations;
          const wasRunning = game.running;
          if ("cancel" in each) game.arrive(String(arrived++), each.cancel ? "cancel" : "finish", each.bytes);
          else if (each.kind === "take") game.take();
          else if (each.kind === "end") game.end();
          else if (wasRunning !== undefined) {
            shownSince = true;
            game.show();
          }
          if (game.running !== undefined && game.running !== wasRunning) taken.push(game.running);
          if (game.cancellations > before) {
            expect(shownSince).toBe(true);
            shownSince = false;
          }
          expect(game.waiting.length).toBeLessThanOrEqual(places);
        }
        const all = [...taken, ...game.superseded, ...game.waiting].map(Number);
        expect(all.toSorted((a, b) => a - b)).toEqual(Array.from({ length: arrived }, (_, index) => index));
        expect(taken.map(Number)).toEqual(taken.map(Number).toSorted((a, b) => a - b));
        if (arrived > 0 && game.waiting.length === 0) expect(Number(taken.at(-1))).toBe(arrived - 1);
      }),
    );
  });
});
