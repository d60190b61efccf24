import { describe, expect, it } from "vitest";
import { MessageRate } from "../../../../src/http/realtime/message-rate.ts";

const takes = (rate: MessageRate, count: number, atMs: number): number =>
  Array.from({ length: count }, () => rate.take(atMs)).filter(Boolean).length;

describe("MessageRate", () => {
  it("a burst of a second's worth passes, and not one more", () => {
    expect(takes(new MessageRate(10, 0), 30, 0)).toBe(10);
  });

  it("what was used up comes back with time, and never more than a second's worth", () => {
    const rate = new MessageRate(10, 0);
    takes(rate, 10, 0);
    expect([takes(rate, 30, 500), takes(rate, 30, 60_000)]).toEqual([5, 10]);
  });

  it("without a limit everything passes", () => {
    expect(takes(new MessageRate(Number.POSITIVE_INFINITY, 0), 1_000, 0)).toBe(1_000);
  });
});
