/**
 * The life of one worker slot as data: a state, the events that can happen to it, and a pure function between them.
 * starting → ready → draining → stopped; a death leads through backoff to the next incarnation, too many of them to `failed`.
 */
import type { Capabilities, DeviceInfo, ModelInfo, ServedModel, UnservedModel } from "../protocol/messages.ts";
import type { SlotFailure } from "./slot-failure.ts";

export interface WorkerInfo {
  readonly pid: number;
  readonly model: ModelInfo;
  readonly device: DeviceInfo;
  readonly capabilities: Capabilities;
  readonly versions: Readonly<Record<string, string>>;
  readonly stepSeconds: number;
  readonly choice: ModelChoice;
}

/** The models that requests may name. */
export interface ModelChoice {
  /** In the operator's order, at least one; requests that name none get the first. */
  readonly models: readonly ServedModel[];
  /** Those that the operator named as well, and that cannot be served. */
  readonly unserved: readonly UnservedModel[];
}

export interface LoadingStage {
  readonly stage: string;
  /** 0..1 within the stage, null where it cannot be known. */
  readonly progress: number | null;
  readonly detail: string | null;
}

interface Common {
  /** Counts the processes this slot has had; messages of an older one are stale. */
  readonly incarnation: number;
  /** When this slot's workers died, oldest first, within {@link CRASH_WINDOW_MS}. */
  readonly crashes: readonly number[];
  readonly lastFailure: SlotFailure | null;
}

export type SlotState = Common &
  (
    | { readonly kind: "starting"; readonly loading: LoadingStage }
    | { readonly kind: "ready"; readonly info: WorkerInfo }
    | { readonly kind: "draining" }
    | { readonly kind: "backoff"; readonly untilMs: number }
    | { readonly kind: "failed"; readonly untilMs: number; readonly lastFailure: SlotFailure }
    | { readonly kind: "stopped" }
  );

export type SlotEvent =
  | { readonly kind: "loading"; readonly loading: LoadingStage }
  | { readonly kind: "ready"; readonly info: WorkerInfo }
  /** Another model is loaded, or one is not any more. */
  | { readonly kind: "models"; readonly choice: ModelChoice }
  /** The process is gone, or could not be started. */
  | { readonly kind: "died"; readonly nowMs: number; readonly failure: SlotFailure }
  | { readonly kind: "retry" }
  | { readonly kind: "drain" }
  | { readonly kind: "stopped" };

export const CRASH_WINDOW_MS = 5 * 60_000;
/** A worker that dies more often than this within the window is not helped by another start. */
export const MAX_CRASHES = 5;
export const FIRST_BACKOFF_MS = 250;
export const MAX_BACKOFF_MS = 30_000;
/** A failed slot is tried again this often: a folder may have been mended, a device freed. */
export const FAILED_RETRY_MS = 60_000;

const STARTING = { kind: "starting", loading: { stage: "spawn", progress: null, detail: null } } as const;
export const INITIAL_STATE: SlotState = { ...STARTING, incarnation: 1, crashes: [], lastFailure: null };

export function nextSlotState(state: SlotState, event: SlotEvent): SlotState {
  const { incarnation, crashes, lastFailure } = state;
  if (state.kind === "stopped") return state;
  switch (event.kind) {
    case "loading":
      return state.kind === "starting" ? { ...state, loading: event.loading } : state;
    case "ready":
      return state.kind === "starting" ? { kind: "ready", incarnation, crashes, lastFailure, info: event.info } : state;
    case "models":
      return state.kind === "ready" ? { ...state, info: { ...state.info, choice: event.choice } } : state;
    case "died":
      return state.kind === "draining"
        ? { kind: "stopped", incarnation, crashes, lastFailure }
        : afterDeath(state, event);
    case "retry":
      return state.kind === "backoff" || state.kind === "failed"
        ? { ...STARTING, incarnation: incarnation + 1, crashes, lastFailure }
        : state;
    case "drain":
      return { kind: "draining", incarnation, crashes, lastFailure };
    case "stopped":
      return { kind: "stopped", incarnation, crashes, lastFailure };
  }
}

function afterDeath(state: SlotState, event: Extract<SlotEvent, { kind: "died" }>): SlotState {
  const crashes = [...state.crashes.filter((at) => at > event.nowMs - CRASH_WINDOW_MS), event.nowMs];
  const common = { incarnation: state.incarnation, crashes, lastFailure: event.failure };
  if (event.failure.isPermanent || crashes.length > MAX_CRASHES) {
    return { kind: "failed", ...common, untilMs: event.nowMs + FAILED_RETRY_MS };
  }
  const backoffMs = Math.min(FIRST_BACKOFF_MS * 2 ** (crashes.length - 1), MAX_BACKOFF_MS);
  return { kind: "backoff", ...common, untilMs: event.nowMs + backoffMs };
}
