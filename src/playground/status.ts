/** Where the runs on the stage are, in words. */
import type { Run } from "./run.ts";
import { serviceText, type Service } from "./service.ts";
import type { FieldName } from "./values.ts";

/** One line about work that goes on; about the only run, or about all of several. */
export function describeRuns(runs: readonly Run[], service: Service): string {
  if (runs.some((run) => !run.isOver && !run.isConnected)) {
    return "Connection lost. Trying again; the server goes on with the picture.";
  }
  const [run] = runs;
  if (run === undefined) return "";
  return runs.length === 1 ? describeRun(run, service) : describeSeveral(runs);
}

function describeRun({ state }: Run, service: Service): string {
  if (service.kind === "loading" && (state.kind === "sent" || state.kind === "queued")) {
    return `Waiting for the model: ${serviceText(service)}`;
  }
  switch (state.kind) {
    case "sent":
      return "Sending the request";
    case "queued":
      return describePlace(state.position, state.estimateMs);
    case "running":
      return state.step === null ? "Starting" : `Step ${state.step + 1} of ${state.totalSteps}`;
    case "succeeded":
      return `Finished in ${seconds(state.result.timings.inferenceMs)}`;
    case "stopped":
      return state.step === null ? "Stopped" : `Stopped after step ${state.step + 1}`;
    case "failed":
      return "";
  }
}

/** What is written on a picture that does not form: its place in line, or why there is none. */
export function describeWaiting({ state }: Run): string {
  switch (state.kind) {
    case "queued":
      return describePlace(state.position, state.estimateMs).replace(", ", "\n");
    case "failed":
      return state.error.message;
    case "stopped":
      return state.step === null ? "Stopped" : "";
    default:
      return "";
  }
}

function describePlace(position: number, estimateMs: number | null): string {
  const place = position === 0 ? "Next in line" : `${position} ahead in line`;
  return estimateMs === null ? place : `${place}, starts in about ${seconds(estimateMs)}`;
}

function describeSeveral(runs: readonly Run[]): string {
  const count = (kind: Run["state"]["kind"]): number => runs.filter(({ state }) => state.kind === kind).length;
  const told = [
    [count("sent") + count("queued"), "waiting"],
    [count("running"), "forming"],
    [count("succeeded"), "finished"],
    [count("stopped"), "stopped"],
    [count("failed"), "failed"],
  ] as const;
  return [...told.flatMap(([number, word]) => (number === 0 ? [] : `${number} ${word}`)), ...nextStart(runs)].join(
    ", ",
  );
}

/** When the first of those that wait will start, while none of them forms. */
function nextStart(runs: readonly Run[]): string[] {
  if (runs.some(({ state }) => state.kind === "running")) return [];
  const estimates = runs.flatMap(({ state }) =>
    state.kind === "queued" && state.estimateMs !== null ? [state.estimateMs] : [],
  );
  return estimates.length === 0 ? [] : [`the next one starts in about ${seconds(Math.min(...estimates))}`];
}

/** What the server noticed about the requests that have succeeded, each remark once. */
export function describeWarnings(runs: readonly Run[]): string {
  const warnings = runs.flatMap(({ state }) => (state.kind === "succeeded" ? state.result.warnings : []));
  return sentences(warnings);
}

/** Each remark once, as a sentence. */
export function sentences(remarks: readonly string[]): string {
  return [...new Set(remarks)].map(sentence).join(" ");
}

function sentence(text: string): string {
  return `${text.charAt(0).toUpperCase()}${text.slice(1)}${/[.!?]$/.test(text) ? "" : "."}`;
}

/** What is known about speed and origin, as the label beside a picture. */
export function describeFacts(runs: readonly Run[]): string {
  const firstPreviews = runs.flatMap(({ firstPreviewMs }) => (firstPreviewMs === null ? [] : [firstPreviewMs]));
  const slowest = Math.max(...firstPreviews);
  if (firstPreviews.length === 0) return "";
  if (runs.length === 1) return `First preview after ${seconds(slowest)}`;
  return firstPreviews.length === runs.length ? `All forming after ${seconds(slowest)}` : "";
}

export function seconds(ms: number): string {
  const value = ms / 1_000;
  return `${value < 10 ? value.toFixed(value < 1 ? 2 : 1) : Math.round(value)} s`;
}

/** @param origin Whether the link is this page's own address, or one that was opened here. */
export function describeLeftOut(fields: readonly FieldName[], origin: "own" | "foreign"): string {
  if (fields.length === 0) return "";
  const names = fields.map((name) => `the ${name.replaceAll("_", " ")}`).join(" and ");
  return origin === "own"
    ? `Links leave out ${names}: too long for an address. This tab keeps it.`
    : `This link leaves out ${names}: too long for an address. Paste it here to make the same picture.`;
}
