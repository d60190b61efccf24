import { describe, expect, it } from "vitest";
import { pullRule, type OtherDevice, type PullFacts } from "../../../src/cluster/node/pull-rule.ts";
import type { DeviceOffer } from "../../../src/jobs/offer.ts";

const STEPS = 20;
const STEP = 0.1;
const IMAGE = STEPS * STEP;

function device(given: Partial<DeviceOffer> = {}): DeviceOffer {
  const stepSeconds = given.stepSeconds ?? STEP;
  return {
    ...{ slot: 0, hasRoom: true, held: 0, newcomers: 0, rows: 1, stepSeconds, backlogSeconds: 0 },
    firstPreviewSeconds: stepSeconds,
    ...given,
  };
}

function other(given: Partial<OtherDevice> = {}): OtherDevice {
  return { hasRoom: true, stepSeconds: STEP, backlogSeconds: 0, ...given };
}

function facts(own: Partial<DeviceOffer> = {}, others: readonly OtherDevice[] = []): PullFacts {
  return { device: device(own), others, slots: 32, imageSteps: STEPS };
}

describe("a device asks for one more job", () => {
  it("as long as it has room and each newcomer has begun", () => {
    expect(pullRule.mayPull(facts())).toBe(true);
    expect(pullRule.mayPull(facts({ hasRoom: false }))).toBe(false);
    expect(pullRule.mayPull(facts({ held: 1, newcomers: 1 }))).toBe(false);
    expect(pullRule.mayPull(facts({ held: 1, newcomers: 1, rows: 2 }))).toBe(true);
  });

  it("up to its share of the slots, by its speed beside the fastest", () => {
    const quarter = { stepSeconds: 4 * STEP };
    const busy = other({ backlogSeconds: 100 * IMAGE });
    expect(pullRule.mayPull(facts({ ...quarter, held: 7 }, [busy]))).toBe(true);
    expect(pullRule.mayPull(facts({ ...quarter, held: 8 }, [busy]))).toBe(false);
    const crawling = { stepSeconds: 1_000 * STEP };
    expect(pullRule.mayPull(facts({ ...crawling, held: 1 }, [other({ backlogSeconds: 2_000 * IMAGE })]))).toBe(true);
  });

  it("unless another would have it done more than three images sooner", () => {
    const behind = { held: 4, backlogSeconds: 4 * IMAGE };
    expect(pullRule.mayPull(facts(behind, [other()]))).toBe(false);
    expect(pullRule.mayPull(facts(behind, [other({ backlogSeconds: IMAGE })]))).toBe(true);
    expect(pullRule.mayPull(facts(behind, [other({ hasRoom: false })]))).toBe(true);
  });

  it("when it is slow and idle, once the fast ones are busy for as long as it takes longer", () => {
    const tenth = { stepSeconds: 10 * STEP };
    expect(pullRule.mayPull(facts(tenth, [other()]))).toBe(false);
    expect(pullRule.mayPull(facts(tenth, [other({ backlogSeconds: 6 * IMAGE })]))).toBe(true);
  });

  it("when it is the soonest of all, whatever it holds", () => {
    const full = { held: 20, backlogSeconds: 20 * IMAGE };
    expect(pullRule.mayPull(facts(full, [other({ backlogSeconds: 21 * IMAGE })]))).toBe(true);
  });
});

describe("of devices that ask at once", () => {
  function claim(own: Partial<DeviceOffer>): number {
    return pullRule.priority(facts(own, [other()]));
  }

  it("the one that would show it first has the better claim", () => {
    expect(claim({})).toBeLessThan(claim({ held: 1, firstPreviewSeconds: 3 * STEP }));
    expect(claim({})).toBeLessThan(claim({ stepSeconds: 4 * STEP }));
  });

  it("a busy fast device comes before an idle slow one, until much waits in it", () => {
    const slow = claim({ stepSeconds: 4 * STEP });
    const busy = (images: number): number =>
      claim({ held: images, firstPreviewSeconds: 1.5 * STEP, backlogSeconds: images * IMAGE });
    expect(busy(1)).toBeLessThan(slow);
    expect(busy(30)).toBeGreaterThan(slow);
  });

  it("devices of half and a quarter of the speed claim less, also where speeds are measured 10 % wrong", () => {
    for (const wrong of [0.9, 1, 1.1]) {
      const idle = (speed: number): number => claim({ stepSeconds: (STEP / speed) * (speed === 1 ? 1 : wrong) });
      expect([idle(1), idle(1 / 2), idle(1 / 4)]).toEqual([1, 2, 3]);
    }
  });

  it("claims stay within what servers take, also before a step was measured", () => {
    expect(claim({ firstPreviewSeconds: 10_000 })).toBe(9);
    expect(pullRule.priority(facts({ stepSeconds: 0, firstPreviewSeconds: 0 }))).toBe(0);
    expect(pullRule.mayPull(facts({ stepSeconds: 0, firstPreviewSeconds: 0 }))).toBe(true);
  });
});
