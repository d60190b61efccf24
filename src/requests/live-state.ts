/**
 * The life of a request in this process as data: held (by its job) → ended, or → put off until the next start of the server.
 * {@link nextLiveState} is pure; a change that does not fit the state changes nothing.
 */
import type { Ended } from "../storage/request-store.ts";

export type SettledState =
  | ({ readonly kind: "ended" } & Ended)
  /** The server ends first. Listeners have to reconnect. */
  | { readonly kind: "put_off" };

export type LiveState = { readonly kind: "held" } | SettledState;

export function nextLiveState(state: LiveState, change: SettledState): LiveState {
  return isSettled(state) ? state : change;
}

export function isSettled(state: LiveState): state is SettledState {
  return state.kind !== "held";
}
