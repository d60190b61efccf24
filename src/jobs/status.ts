/** The service's state, derived from its slots and its phase and never stored. */
import type { LoadingStage, SlotState } from "../worker/slot-state.ts";

/** How far the service is on its way out. */
export type Phase = "open" | "draining" | "closed";

export type ServiceStatus =
  | { readonly kind: "loading"; readonly loading: LoadingStage }
  | { readonly kind: "ready" }
  /** Ready, and jobs are waiting. */
  | { readonly kind: "busy" }
  | { readonly kind: "draining" }
  | { readonly kind: "failed"; readonly reason: string };

export interface StatusFacts {
  readonly slots: readonly SlotState[];
  readonly waiting: number;
  readonly phase: Phase;
}

const UNKNOWN_STAGE: LoadingStage = { stage: "spawn", progress: null, detail: null };

export function deriveStatus({ slots, waiting, phase }: StatusFacts): ServiceStatus {
  if (phase !== "open") return { kind: "draining" };
  if (slots.some(({ kind }) => kind === "ready")) return waiting > 0 ? { kind: "busy" } : { kind: "ready" };
  const failed = slots.find((slot) => slot.kind === "failed");
  if (failed !== undefined && slots.every(({ kind }) => kind === "failed")) {
    return { kind: "failed", reason: failed.lastFailure.message };
  }
  const starting = slots.find((slot) => slot.kind === "starting");
  return { kind: "loading", loading: starting?.loading ?? UNKNOWN_STAGE };
}
