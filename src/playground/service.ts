/** What `GET /health` tells: how the server is, and which models it has. */
import type { JsonRecord } from "../client/guards.ts";
import { LatentcastError, type LatentcastClient } from "../client/index.ts";
import type { Vocabulary } from "../schema/vocabulary.ts";
import { isRecord, list, number, record, text } from "./json.ts";

export interface Model {
  readonly id: string;
  readonly nativeWidth: number;
  readonly nativeHeight: number;
  readonly minSide: number;
  readonly maxSide: number;
  readonly defaultSteps: number;
  readonly defaultGuidanceScale: number;
  readonly examples: readonly string[];
  /** Undefined for a model that knows nearly everything. */
  readonly vocabulary: Vocabulary | undefined;
  /** Whether requests may name LoRAs. */
  readonly takesLoras: boolean;
  /** What a visitor should know about it, such as that it draws noise only. */
  readonly note: string;
}

export interface OfferedModel {
  readonly model: Model;
  /** Another one is loaded when it is asked for. */
  readonly isLoaded: boolean;
  /** Why it could not be loaded when it was last tried; empty where nothing is known. */
  readonly problem: string;
}

export interface Models {
  /** Requests that name none get the first. */
  readonly served: readonly OfferedModel[];
  /** Those that the operator named as well, and that cannot be served. */
  readonly unserved: readonly { readonly id: string; readonly problem: string }[];
}

export type Service =
  | { readonly kind: "loading"; readonly stage: string; readonly progress: number | null }
  | { readonly kind: "ready" | "busy" | "draining"; readonly model: Model | undefined; readonly models: Models }
  | { readonly kind: "failed"; readonly reason: string }
  | { readonly kind: "unreachable" };

/** Loading stages change every second or so; a server that runs is asked only to notice that it no longer does. */
const PAUSE_MS = { loading: 500, failed: 2_000, unreachable: 1_000, draining: 2_000, ready: 10_000, busy: 10_000 };

/** Tells at once and after every change, until the page is closed. Returns what makes it look again now. */
export function watchService(client: LatentcastClient, tell: (service: Service) => void): () => void {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const look = async (): Promise<void> => {
    const service = document.hidden ? undefined : await askService(client);
    if (service !== undefined) tell(service);
    clearTimeout(timer);
    timer = setTimeout(() => void look(), PAUSE_MS[service?.kind ?? "ready"]);
  };
  void look();
  return () => void look();
}

async function askService(client: LatentcastClient): Promise<Service> {
  try {
    return readService(await client.health());
  } catch (error) {
    if (error instanceof LatentcastError) return { kind: "unreachable" };
    throw error;
  }
}

function readService(health: unknown): Service {
  const { status, loading, reason, model } = record(health);
  switch (status) {
    case "ready":
    case "busy":
    case "draining":
      return { kind: status, model: readModel(model), models: readModels(record(health)) };
    case "failed":
      return { kind: "failed", reason: text(reason) };
    default: {
      const { stage, progress } = record(loading);
      return { kind: "loading", stage: text(stage), progress: typeof progress === "number" ? progress : null };
    }
  }
}

/** Where there is one, it is all that is said of models. */
function readModels({ model, models, unserved_models: unserved }: JsonRecord): Models {
  const served = models === undefined ? [record(model)] : list(models).map(record);
  return {
    served: served.flatMap((each) => {
      const described = readModel(each);
      if (described === undefined) return [];
      return [{ model: described, isLoaded: each["is_loaded"] !== false, problem: text(each["problem"]) }];
    }),
    unserved: list(unserved).map((each) => ({ id: text(record(each)["id"]), problem: text(record(each)["problem"]) })),
  };
}

function readModel(value: unknown): Model | undefined {
  const model = record(value);
  if (text(model["id"]) === "") return undefined;
  return {
    id: text(model["id"]),
    nativeWidth: number(model["native_width"]),
    nativeHeight: number(model["native_height"]),
    minSide: number(model["min_side"]),
    maxSide: number(model["max_side"]),
    defaultSteps: number(model["default_steps"]),
    defaultGuidanceScale: number(model["default_guidance_scale"]),
    examples: list(model["examples"]).map(text),
    vocabulary: readVocabulary(model["vocabulary"]),
    takesLoras: model["takes_loras"] === true,
    note: text(model["note"]),
  };
}

function readVocabulary(value: unknown): Vocabulary | undefined {
  if (!isRecord(value)) return undefined;
  const words = (name: string): string[] => list(value[name]).map(text).filter(Boolean);
  return { summary: text(value["summary"]), subjects: words("subjects"), modifiers: words("modifiers") };
}

const STAGES: Readonly<Record<string, string>> = {
  spawn: "starting the worker",
  import: "starting Python",
  download: "downloading the model",
  weights: "loading the model",
  warmup: "warming up",
};

/** One line for people. */
export function serviceText(service: Service): string {
  switch (service.kind) {
    case "loading": {
      const percent = service.progress === null ? "" : ` ${Math.round(service.progress * 100)} %`;
      return `${STAGES[service.stage] ?? (service.stage || "loading")}${percent}`;
    }
    case "ready":
    case "busy":
      return service.model === undefined ? service.kind : shortName(service.model.id);
    case "draining":
      return "the server is shutting down";
    case "failed":
      return "no worker could be started";
    case "unreachable":
      return "the server does not answer";
  }
}

/** Of a folder or a hub id the last part. */
function shortName(id: string): string {
  return id.split("/").findLast((part) => part !== "") ?? id;
}
