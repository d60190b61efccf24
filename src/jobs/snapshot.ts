/** The whole service at one moment, in the shape of `GET /health`: what health, gauges and tests read. */
import type { ModelInfo } from "../protocol/messages.ts";
import type { ServiceSnapshot } from "../schema/health.ts";
import type { Supervisor } from "../worker/supervisor.ts";
import type { Counters } from "./counters.ts";
import type { ServiceStatus } from "./status.ts";

export interface SnapshotFacts {
  readonly status: ServiceStatus;
  readonly version: string;
  readonly shortcuts: readonly string[];
  readonly model: ModelInfo | undefined;
  readonly waiting: number;
  readonly unfinished: number;
  readonly slots: readonly Pick<Supervisor, "slot" | "pid" | "state" | "vitals">[];
  jobsInFlight(slot: number): number;
  readonly counters: Counters;
}

export function takeSnapshot(facts: SnapshotFacts): ServiceSnapshot {
  const { status, version, model, slots, counters } = facts;
  const workers = slots.map((slot) => describeWorker(slot, facts.jobsInFlight(slot.slot)));
  return {
    status: status.kind,
    version,
    shortcuts: [...facts.shortcuts],
    ...("loading" in status ? { loading: { ...status.loading } } : {}),
    ...("reason" in status ? { reason: withoutFolders(status.reason) } : {}),
    model: model === undefined ? null : { ...model, note: modelNote(model) },
    queue: { waiting: facts.waiting, unfinished: facts.unfinished },
    workers,
    counters: {
      stale: counters.stale,
      garbage: counters.garbage,
      restarts: workers.reduce((sum, { restarts }) => sum + restarts, 0),
      ...counters.jobs,
      previews: counters.previews,
      previews_dropped: counters.previewsDropped,
      cancelled_device_seconds: counters.cancelledDeviceSeconds,
    },
  };
}

/** What users should know about the model. */
export function modelNote({ is_noise: isNoise }: ModelInfo): string | null {
  return isNoise ? "random weights: every image is noise" : null;
}

/** Absolute paths without their folders: `/health` needs no key, the log has the whole path. */
function withoutFolders(text: string): string {
  return text.replaceAll(/(?<![\w:/.])(?:\/[^\s/:'"]+)+\/(?=[^\s/:'"])/g, "…/");
}

function describeWorker(
  { slot, pid, state, vitals }: SnapshotFacts["slots"][number],
  jobs: number,
): ServiceSnapshot["workers"][number] {
  const { incarnation, lastFailure } = state;
  return {
    slot,
    pid: pid ?? null,
    jobs,
    state: state.kind,
    epoch: incarnation,
    restarts: incarnation - 1,
    last_error: lastFailure === null ? null : withoutFolders(lastFailure.message),
    ...(state.kind === "starting" ? { loading: { ...state.loading } } : {}),
    ...(state.kind === "ready"
      ? {
          device: state.info.device,
          versions: { ...state.info.versions },
          max_batch: state.info.capabilities.max_batch,
        }
      : {}),
    ...(vitals === undefined
      ? {}
      : {
          vitals: {
            iterations: vitals.iterations,
            resident_bytes: vitals.rss_bytes,
            device_memory_bytes: vitals.device_memory_bytes,
          },
        }),
  };
}
