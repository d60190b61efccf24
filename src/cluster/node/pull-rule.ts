/**
 * When a device asks for one more job, and with which claim to it. A ticket waits where every device can take it until one could show it
 * soon; of the devices that ask at the same moment the one that would show it first gets it. `npm run bench -- cluster` compares it.
 */
import type { DeviceOffer } from "../../jobs/offer.ts";

/** What counts of another device of the pool. */
export type OtherDevice = Pick<DeviceOffer, "hasRoom" | "stepSeconds" | "backlogSeconds">;

export interface PullFacts {
  readonly device: DeviceOffer;
  /** The rest of its pool, on this machine and by the heartbeats of others. */
  readonly others: readonly OtherDevice[];
  /** Jobs that a device of the fastest kind holds at most. */
  readonly slots: number;
  /** Steps of the model's usual image. */
  readonly imageSteps: number;
}

export interface PullRule {
  mayPull(facts: PullFacts): boolean;
  /** 0 to 9; the lowest of those who ask gets the ticket. */
  priority(facts: PullFacts): number;
}

const MIN_SLOTS = 2;
const LOWEST_CLAIM = 9;
/**
 * A claim of 0 is a first preview within this many steps of the fastest device, and each further point twice as long. It is less than a
 * half, so that idle devices of speed 1, 1/2 and 1/4 are each in the middle of a point: at a half they are on its edge, and what is
 * measured of their speed decides whether they claim like devices of twice that.
 */
const FIRST_POINT_STEPS = 0.42;
/**
 * How much a second of backlog counts beside a second until the first preview. More of it ends images sooner and gives first previews to
 * slow devices. In a simulation of nodes of speed 1, 1, 1/2, 1/4 at load 0.8, 0.012 means 2.9 steps (p95) and 1.09 times the mean
 * completion of an oracle, 0.02 means 3.8 and 0.96. `npm run bench -- cluster` measures it.
 */
const BACKLOG_WEIGHT = 0.012;
/**
 * Images of the fastest device by which one that ends later may still take a job. Without a bound, a burst fills slow devices while fast
 * ones are about to be free (in the simulation images took 1.2 times as long); with none to spare, a burst waits while devices look at
 * heartbeats that are 0.1 s old.
 */
const PATIENCE_IMAGES = 3;

export const pullRule: PullRule = {
  /**
   * Nobody is placed behind a newcomer that has not begun, a slow device holds fewer, and what would end much sooner elsewhere is left to
   * that device. The next one is asked for while a newcomer's first step runs, so that its own follows without a gap.
   */
  mayPull: (facts) => {
    const { device } = facts;
    return device.hasRoom && device.newcomers < device.rows && device.held < slotsOf(facts) && endsSoonEnough(facts);
  },

  /** In time and not in steps, so that a slow device claims less. */
  priority: (facts) => {
    const { device } = facts;
    const price = device.firstPreviewSeconds + BACKLOG_WEIGHT * device.backlogSeconds;
    const firstPoint = FIRST_POINT_STEPS * fastestStepSeconds(facts);
    if (firstPoint <= 0 || price <= 0) return 0;
    return clamp(Math.floor(Math.log2(price / firstPoint)), 0, LOWEST_CLAIM);
  },
};

function endsSoonEnough(facts: PullFacts): boolean {
  const { device, others, imageSteps } = facts;
  const endSeconds = ({ backlogSeconds, stepSeconds }: OtherDevice): number =>
    backlogSeconds + imageSteps * stepSeconds;
  const soonest = Math.min(...others.filter(({ hasRoom }) => hasRoom).map(endSeconds));
  return endSeconds(device) <= soonest + PATIENCE_IMAGES * imageSteps * fastestStepSeconds(facts);
}

function slotsOf(facts: PullFacts): number {
  const { device, slots } = facts;
  const speed = device.stepSeconds > 0 ? fastestStepSeconds(facts) / device.stepSeconds : 1;
  return clamp(Math.round(slots * speed), Math.min(MIN_SLOTS, slots), slots);
}

function fastestStepSeconds({ device, others }: PullFacts): number {
  return Math.min(device.stepSeconds, ...others.map(({ stepSeconds }) => stepSeconds));
}

function clamp(value: number, least: number, most: number): number {
  return Math.min(most, Math.max(least, value));
}
