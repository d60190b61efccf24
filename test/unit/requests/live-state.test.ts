import { describe, expect, it } from "vitest";
import { nextLiveState, type LiveState, type SettledState } from "../../../src/requests/live-state.ts";
import { ended } from "../../contract/store-under-test.ts";

const held: LiveState = { kind: "held" };
const first: SettledState = { kind: "ended", ...ended(1) };
const second: SettledState = { kind: "ended", ...ended(2) };
const putOff: SettledState = { kind: "put_off" };

describe("a held request", () => {
  it.each([first, putOff])("is settled once, and stays so: $kind", (change) => {
    const settled = nextLiveState(held, change);
    expect(settled).toBe(change);
    for (const later of [first, second, putOff]) expect(nextLiveState(settled, later)).toBe(change);
  });
});
