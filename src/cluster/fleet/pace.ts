/** How soon a fleet looks after what fell between two steps. Only tests of faults are in a hurry. */

export interface FleetPace {
  /** Between two sweeps of the reconciler at least this long, and at most twice as long: gateways drift apart. */
  readonly sweepMs: number;
  /** A record is left alone for this long after its last change: whoever changed it may not be done. */
  readonly settleMs: Readonly<Record<"queued" | "running" | "ended", number>>;
}

export const usualPace: FleetPace = {
  sweepMs: 20_000,
  settleMs: { queued: 10_000, running: 5_000, ended: 10_000 },
};
