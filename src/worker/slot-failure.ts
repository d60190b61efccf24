/** Why a worker's process did not start or is gone: a code for programs, a sentence for operators. */
import type { ChildExit } from "../processes/child.ts";
import type { FatalCode, ReportOf } from "../protocol/messages.ts";

export type SlotFailureCode =
  /** What its process needs could not be prepared. */
  | "launch_failed"
  /** The operating system refused its process. */
  | "spawn_failed"
  | "protocol_mismatch"
  /** Loading showed no progress. */
  | "loading_stalled"
  /** It held work and finished no piece of it, or answered no pings. */
  | "stalled"
  | "unreachable"
  /** It ended without a `fatal` message. */
  | "exited"
  /** What the worker said before it ended itself. */
  | FatalCode;

export interface SlotFailure {
  readonly code: SlotFailureCode;
  readonly message: string;
  /** Trying again at once cannot help: somebody has to change a setting, a folder or an installation first. */
  readonly isPermanent: boolean;
}

/** A worker cannot be started and trying again at once would not help; the message says what to do. */
export class LaunchError extends Error {
  override readonly name: string = "LaunchError";
}

const PERMANENT_FATALS: ReadonlySet<FatalCode> = new Set(["model_not_found", "model_invalid", "device_unavailable"]);

export function launchFailure(error: unknown): SlotFailure {
  const message = error instanceof Error ? error.message : String(error);
  return { code: "launch_failed", message, isPermanent: error instanceof LaunchError };
}

export function fatalFailure({ code, message }: ReportOf<"fatal">): SlotFailure {
  return { code, message, isPermanent: PERMANENT_FATALS.has(code) };
}

export function exitFailure({ code, signal, stderrTail, spawnError }: ChildExit): SlotFailure {
  if (spawnError !== null) {
    return { code: "spawn_failed", message: `the worker could not be started: ${spawnError}`, isPermanent: true };
  }
  const how = signal === null ? `exit code ${code}` : `signal ${signal}`;
  const last = stderrTail.at(-1);
  const message = last === undefined ? `the worker ended with ${how}` : `the worker ended with ${how}: ${last}`;
  return { code: "exited", message, isPermanent: false };
}
