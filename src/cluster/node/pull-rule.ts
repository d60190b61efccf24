/**
 * When a device asks for one more job, and with which claim to it. A ticket waits where every device can take it until one could show it
 * soon; of the devices that ask at the same moment the one that would show it first gets it. `npm run bench -- cluster` compares it.
 */
import type { DeviceOffer } from "../../jobs/offer.ts";

export interface PullFacts {
  readonly device: DeviceOffer;
  /** Of the fastest device of the pool, for one step. */
  readonly fastestStepSeconds: number;
  /** Jobs that a device of the fastest kind holds at most. */
  readonly slots: number;
}

export interface PullRule {
  mayPull(facts: PullFacts): boolean;
  /** 0 to 9; the lowest of those who ask gets the ticket. */
  priority(facts: PullFacts): number;
}

const MIN_SLOTS = 2;
const LOWEST_CLAIM = 9;
/**
 * How much a second of backlog counts beside a second until the first preview. Fitted together with the default of 32 slots to a model of
 * four devices under load; `npm run bench -- cluster` shows what they do.
 */
const BACKLOG_WEIGHT = 0.03;

export const pullRule: PullRule = {
  /** Nobody is placed behind a newcomer that still waits for its first step, and a slow device holds fewer. */
  mayPull: ({ device, fastestStepSeconds, slots }) =>
    device.hasRoom && device.newcomers < device.rows && device.held < slotsOf(device, fastestStepSeconds, slots),

  /** In time and not in steps, so that a slow device claims less. Each point is twice as long. */
  priority: ({ device, fastestStepSeconds }) => {
    const price = device.firstPreviewSeconds + BACKLOG_WEIGHT * device.backlogSeconds;
    const unit = fastestStepSeconds / 2;
    if (unit <= 0 || price <= 0) return 0;
    return clamp(Math.floor(Math.log2(price / unit)), 0, LOWEST_CLAIM);
  },
};

function slotsOf({ stepSeconds }: DeviceOffer, fastestStepSeconds: number, slots: number): number {
  const speed = stepSeconds > 0 ? fastestStepSeconds / stepSeconds : 1;
  return clamp(Math.round(slots * speed), Math.min(MIN_SLOTS, slots), slots);
}

function clamp(value: number, least: number, most: number): number {
  return Math.min(most, Math.max(least, value));
}
