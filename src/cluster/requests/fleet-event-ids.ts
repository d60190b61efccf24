/** Ids of a request's events: they mean the same on every gateway. */
import type { EventIds } from "../../requests/request-events.ts";
import { runOf, sequenceOf } from "./durable-wire.ts";

export const fleetEventIds: EventIds = {
  of(sequence) {
    const { run, n } = runOf(sequence);
    return `${run}.${n}`;
  },
  sequenceOf(id) {
    const [, run, n] = /^(\d{1,10})\.(\d{1,7})$/.exec(id ?? "") ?? [];
    return run === undefined || n === undefined ? undefined : sequenceOf(Number(run), Number(n));
  },
};
