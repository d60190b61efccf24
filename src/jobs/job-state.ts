/**
 * The life of one job as data: pending (accepted, no model loaded yet) → queued → running → succeeded, failed or cancelled. A job whose
 * worker died goes from running back to queued. {@link nextJobState} is pure; an event that does not fit the state changes nothing.
 */
import { isTerminal, type TerminalEvent } from "./events.ts";
import type { JobRequest } from "./request.ts";

export type JobState =
  | { readonly kind: "pending" }
  | { readonly kind: "queued"; readonly request: JobRequest }
  /** `step` is the last one that has been done; null before the first. */
  | {
      readonly kind: "running";
      readonly request: JobRequest;
      readonly step: number | null;
      /** Fewer than were asked for where an image is the start. */
      readonly totalSteps: number;
    }
  | TerminalEvent;

type JobChange =
  | { readonly kind: "resolved"; readonly request: JobRequest }
  | { readonly kind: "started"; readonly totalSteps: number }
  | { readonly kind: "stepped"; readonly step: number }
  | { readonly kind: "returned" }
  | TerminalEvent;

export function nextJobState(state: JobState, change: JobChange): JobState {
  if (isTerminal(state)) return state;
  switch (change.kind) {
    case "resolved":
      return state.kind === "pending" ? { kind: "queued", request: change.request } : state;
    case "started":
      if (state.kind !== "queued") return state;
      return { kind: "running", request: state.request, step: null, totalSteps: change.totalSteps };
    case "stepped":
      return state.kind === "running" ? { ...state, step: change.step } : state;
    case "returned":
      return state.kind === "running" ? { kind: "queued", request: state.request } : state;
    default:
      return change;
  }
}
