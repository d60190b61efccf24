/** The whole service at one moment, in the shape of `GET /health`: what health, gauges and tests read. */
import type { ModelInfo } from "../protocol/messages.ts";
import type { ServiceSnapshot } from "../schema/health.ts";
import type { ModelChoice } from "../worker/slot-state.ts";
import type { Supervisor } from "../worker/supervisor.ts";
import type { Counters } from "./counters.ts";
import type { ServiceStatus } from "./status.ts";
import { withoutFolders } from "./without-folders.ts";

/** What is said of every service, wherever its jobs are drawn. */
export interface ServiceFacts {
  readonly status: ServiceStatus;
  readonly version: string;
  readonly shortcuts: readonly string[];
  readonly model: ModelInfo | undefined;
  readonly waiting: number;
  readonly unfinished: number;
  readonly counters: Counters;
}

export interface SnapshotFacts extends ServiceFacts {
  readonly slots: readonly Pick<Supervisor, "slot" | "pid" | "state" | "vitals">[];
  jobsInFlight(slot: number): number;
}

export function takeSnapshot(facts: SnapshotFacts): ServiceSnapshot {
  const { slots } = facts;
  const workers = slots.map((slot) => describeWorker(slot, facts.jobsInFlight(slot.slot)));
  return describeService(facts, workers, severalModels(slots));
}

/** @param models Nothing where there is one. */
export function describeService(
  facts: ServiceFacts,
  workers: ServiceSnapshot["workers"],
  models: Pick<ServiceSnapshot, "models" | "unserved_models"> = {},
): ServiceSnapshot {
  const { status, version, model, counters } = facts;
  return {
    status: status.kind,
    version,
    shortcuts: [...facts.shortcuts],
    ...("loading" in status ? { loading: { ...status.loading } } : {}),
    ...("reason" in status ? { reason: withoutFolders(status.reason) } : {}),
    model: model === undefined ? null : describeModel(model),
    ...models,
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

export function describeModel(model: ModelInfo): ModelInfo & { readonly note: string | null } {
  return { ...model, note: modelNote(model) };
}

/** Nothing where there is one. */
function severalModels(slots: SnapshotFacts["slots"]): Pick<ServiceSnapshot, "models" | "unserved_models"> {
  const choices = slots.flatMap(({ state }) => (state.kind === "ready" ? [state.info.choice] : []));
  const [newest] = choices.toReversed();
  if (newest === undefined || !isSeveral(newest)) return {};
  const loaded = new Set(choices.flatMap(loadedNames));
  return {
    models: newest.models.map(({ model, problem }) => ({
      ...describeModel(model),
      is_loaded: loaded.has(model.id),
      problem: problem === null ? null : withoutFolders(problem),
    })),
    unserved_models: newest.unserved.map(({ id, problem }) => ({ id, problem: withoutFolders(problem) })),
  };
}

function isSeveral({ models, unserved }: ModelChoice): boolean {
  return models.length + unserved.length > 1;
}

function loadedNames({ models }: ModelChoice): string[] {
  return models.filter((served) => served.is_loaded).map(({ model }) => model.id);
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
          ...(isSeveral(state.info.choice) ? { models: loadedNames(state.info.choice) } : {}),
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
