/**
 * Which inputs of one connection are drawn, as data. At most one runs and at most `places` wait, which together weigh at most `maxBytes`;
 * a newer one takes the place of the oldest that waits. An input in the mode `cancel` does not wait for the running one either, but no two are cancelled in a row without an
 * image shown in between: an editor who never pauses would never see one (krita-ai-diffusion #628). {@link nextInputs} is pure.
 */
import type { Mode } from "./schema.ts";

interface Queued {
  readonly mode: Mode;
  /** As it came. */
  readonly bytes: number;
}

export interface Room {
  /** How many may wait. */
  readonly places: number;
  /** What those that wait may weigh together; a single one may weigh more. */
  readonly maxBytes: number;
}

export interface Inputs<Input extends Queued> {
  readonly room: Room;
  /** Oldest first. */
  readonly waiting: readonly Input[];
  readonly running: Input | undefined;
  readonly isCancelling: boolean;
  /** Whether an image was shown since the last cancellation. */
  readonly mayCancel: boolean;
}

type Change<Input> =
  | { readonly kind: "arrived"; readonly input: Input }
  /** The oldest that waits begins. Only while none runs. */
  | { readonly kind: "taken" }
  /** A preview or a result reached the client. */
  | { readonly kind: "shown" }
  /** The running one has ended, in whatever way. */
  | { readonly kind: "ended" }
  /** Nothing that waits will run. */
  | { readonly kind: "closed" };

export interface Step<Input extends Queued> {
  readonly inputs: Inputs<Input>;
  /** Inputs that will never run. */
  readonly superseded: readonly Input[];
  /** The running one is to be cancelled now. */
  readonly cancels: boolean;
}

export function noInputs<Input extends Queued>(room: Room): Inputs<Input> {
  return { room, waiting: [], running: undefined, isCancelling: false, mayCancel: true };
}

export function nextInputs<Input extends Queued>(inputs: Inputs<Input>, change: Change<Input>): Step<Input> {
  switch (change.kind) {
    case "arrived": {
      const all = [...inputs.waiting, change.input];
      const surplus = all.length - fittingAtEnd(all, inputs.room);
      return withCancellation({ ...inputs, waiting: all.slice(surplus) }, all.slice(0, surplus));
    }
    case "taken": {
      const [running, ...waiting] = inputs.waiting;
      if (running === undefined || inputs.running !== undefined) return { inputs, superseded: [], cancels: false };
      return withCancellation({ ...inputs, waiting, running }, []);
    }
    case "shown":
      return withCancellation({ ...inputs, mayCancel: true }, []);
    case "ended":
      return { inputs: { ...inputs, running: undefined, isCancelling: false }, superseded: [], cancels: false };
    case "closed":
      return { inputs: { ...inputs, waiting: [] }, superseded: inputs.waiting, cancels: false };
  }
}

/** How many of the newest have room; the newest always has. */
function fittingAtEnd(all: readonly Queued[], { places, maxBytes }: Room): number {
  let bytes = 0;
  let count = 0;
  for (const input of all.toReversed()) {
    bytes += input.bytes;
    if (count > 0 && (count >= places || bytes > maxBytes)) break;
    count += 1;
  }
  return count;
}

function withCancellation<Input extends Queued>(inputs: Inputs<Input>, superseded: readonly Input[]): Step<Input> {
  const { running, waiting, isCancelling, mayCancel } = inputs;
  const isUnwanted = running !== undefined && waiting.at(-1)?.mode === "cancel";
  if (!isUnwanted || isCancelling || !mayCancel) return { inputs, superseded, cancels: false };
  return { inputs: { ...inputs, isCancelling: true, mayCancel: false }, superseded, cancels: true };
}
