/** How nodes asked before the rule of src/cluster/node/pull-rule.ts: as long as one of 16 slots is free, ranked by what they hold. */
import type { PullRule } from "../../src/cluster/node/pull-rule.ts";

const SLOTS = 16;
const LOWEST_CLAIM = 9;

export const plainRanking: PullRule = {
  mayPull: ({ device }) => device.hasRoom && device.held < SLOTS,
  priority: ({ device }) => Math.min(LOWEST_CLAIM, device.held),
};
