/** What one ready worker holds and how fast it is: the basis of admission, dispatch, estimates and of what counts as a hang. */
import { executedSteps, imagePixelsOf, pixelsOf, type GenerationParams } from "../protocol/params.ts";
import type { ModelInfo, ServedModel } from "../protocol/messages.ts";
import type { WorkerInfo } from "../worker/slot-state.ts";
import type { LongestPiece } from "../worker/watchdog.ts";
import type { Job } from "./job.ts";
import type { DeviceOffer } from "./offer.ts";
import type { JobRequest } from "./request.ts";

/** What decides where a job may run: what it is, and whether it is suspected of killing workers. */
export interface Placeable {
  readonly request: JobRequest;
  readonly deaths: number;
}

/** A job that a worker of a certain incarnation holds. It outlives the job until the worker has confirmed its end. */
export interface HeldJob {
  readonly job: Job;
  readonly request: JobRequest;
  /** The worker has begun to draw it. */
  isStarted: boolean;
  stepsDone: number;
  /** As far as is known before the worker has said it. */
  totalSteps: number;
  cancelling: boolean;
}

/** Seconds of a step by pixel. */
interface Pace {
  readonly mean: number;
  readonly newest: number;
}

/** SDXL from a local disk takes 10 to 40 s. */
const UNKNOWN_LOAD_SECONDS = 15;

/** Weight of the newest step in the running average: about the last ten steps count. */
const SMOOTHING = 0.2;

export class WorkerLoad {
  readonly slot: number;
  readonly incarnation: number;
  /** As its newest report has it: which of its models are loaded changes. */
  info: WorkerInfo;
  /** By job id, in the order in which they were sent. */
  readonly runs = new Map<string, HeldJob>();
  /** By the model's id, of those that have been measured. */
  readonly #paces = new Map<string, Pace>();
  readonly #drawnSizes = new Set<string>();

  constructor(slot: number, incarnation: number, info: WorkerInfo) {
    this.slot = slot;
    this.incarnation = incarnation;
    this.info = info;
  }

  /** The job is about to be sent to this worker. */
  hold(job: Job, request: JobRequest): void {
    const totalSteps = executedSteps(request.params);
    this.runs.set(job.id, { job, request, isStarted: false, stepsDone: 0, totalSteps, cancelling: false });
  }

  /** A step of all images of a job took this long on the device. */
  noteStep(request: JobRequest, seconds: number): void {
    const newest = seconds / pixelsOf(request.params);
    const { mean } = this.#paceOf(request);
    this.#paces.set(this.#modelOf(request), { mean: mean + SMOOTHING * (newest - mean), newest });
  }

  stepSeconds(request: JobRequest): number {
    return this.#paceOf(request).mean * pixelsOf(request.params);
  }

  /** What loading its model will take; nothing for one that is loaded. */
  loadSeconds(request: JobRequest): number {
    const served = this.#servedFor(request);
    return served === undefined || served.is_loaded ? 0 : (served.load_seconds ?? UNKNOWN_LOAD_SECONDS);
  }

  #modelOf({ params }: JobRequest): string {
    return params.model ?? this.info.model.id;
  }

  #servedFor(request: JobRequest): ServedModel | undefined {
    const id = this.#modelOf(request);
    return this.info.choice.models.find(({ model }) => model.id === id);
  }

  /** As measured while loading, until jobs have been; a model that was never loaded is taken to be as fast as the first. */
  #paceOf(request: JobRequest): Pace {
    const known = this.#paces.get(this.#modelOf(request));
    if (known !== undefined) return known;
    const { step_seconds: seconds = null, model = this.info.model } = this.#servedFor(request) ?? {};
    const mean = seconds === null ? paceOf(this.info.stepSeconds, this.info.model) : paceOf(seconds, model);
    return { mean, newest: 0 };
  }

  remainingSeconds({ request, stepsDone, totalSteps }: HeldJob): number {
    return (totalSteps - stepsDone) * this.stepSeconds(request);
  }

  /** Runs that the worker has not begun and whose jobs still wait, in the order in which they will begin. */
  get unstarted(): HeldJob[] {
    const waiting = [...this.runs.values()].filter(({ job, isStarted }) => !isStarted && job.ended === undefined);
    return waiting.toSorted((a, b) => Number(isEager(b.request)) - Number(isEager(a.request)));
  }

  /**
   * A job that was on a worker that died runs alone from then on: should this worker die too, it is known which job it was,
   * and nobody else's image is lost with it.
   */
  hasRoomFor({ request, deaths }: Placeable): boolean {
    return this.#hasRoom(pixelsOf(request.params), deaths);
  }

  #hasRoom(pixels: number, deaths: number): boolean {
    if (this.runs.size === 0) return true;
    if (deaths > 0) return false;
    if ([...this.runs.values()].some((run) => run.job.deaths > 0)) return false;
    const { max_jobs: maxJobs, max_pixels: maxPixels } = this.info.capabilities;
    return this.runs.size < maxJobs && this.#pixels() + pixels <= maxPixels;
  }

  /** Whether a job would begin as soon as it arrives: the engine takes new jobs with previews at once, others when a call has room. */
  wouldBegin(placeable: Placeable): boolean {
    if (!this.hasRoomFor(placeable) || this.unstarted.length > 0 || this.loadSeconds(placeable.request) > 0)
      return false;
    return isEager(placeable.request) || this.hasIdleRows;
  }

  /** Whether the calls that the engine makes now have room for another image. */
  get hasIdleRows(): boolean {
    const images = [...this.runs.values()].reduce((sum, { request }) => sum + request.params.num_images, 0);
    return this.runs.size === 0 || images < this.#rows;
  }

  /** Images that may share a call of the model that shares most. */
  get #rows(): number {
    return Math.max(...this.info.choice.models.map(({ capabilities }) => capabilities.max_batch));
  }

  /** When `request` would show its first preview here. */
  firstPreviewSeconds(request: JobRequest): number {
    const loadSeconds = this.loadSeconds(request);
    const stepSeconds = this.stepSeconds(request);
    // A model is loaded between jobs.
    if (loadSeconds > 0) return this.totalSeconds() + loadSeconds + stepSeconds;
    return stepSeconds + this.#secondsAhead(stepSeconds);
  }

  /** A newcomer waits for the call that runs, on average for half of it, and for the first steps of those who came before it. */
  #secondsAhead(stepSeconds: number): number {
    const firstSteps = [...this.runs.values()].filter(({ request, stepsDone }) => isEager(request) && stepsDone === 0);
    const calls = Math.floor(firstSteps.length / this.#rows);
    return (calls + (this.runs.size > 0 ? 0.5 : 0)) * stepSeconds;
  }

  /** What is left of the steps that a newcomer gets ahead of older jobs. */
  earlySeconds({ request, stepsDone }: HeldJob): number {
    return isEager(request)
      ? Math.max(0, this.info.capabilities.early_steps - stepsDone) * this.stepSeconds(request)
      : 0;
  }

  totalSeconds(): number {
    return [...this.runs.values()].reduce((sum, run) => sum + this.remainingSeconds(run), 0);
  }

  offer(): DeviceOffer {
    const runs = [...this.runs.values()];
    const nativePixels = this.info.model.native_width * this.info.model.native_height;
    const stepSeconds =
      (this.#paces.get(this.info.model.id)?.mean ?? paceOf(this.info.stepSeconds, this.info.model)) * nativePixels;
    const newcomers = runs.filter((run) => isEager(run.request) && !run.isStarted && run.job.ended === undefined);
    return {
      slot: this.slot,
      hasRoom: this.#hasRoom(nativePixels, 0),
      held: runs.length,
      newcomers: newcomers.length,
      rows: this.info.capabilities.max_batch,
      stepSeconds,
      firstPreviewSeconds: stepSeconds + this.#secondsAhead(stepSeconds),
      backlogSeconds: this.totalSeconds(),
    };
  }

  /** The longest single piece of work that the worker may be busy with, for the watchdog. Undefined when it holds no jobs. */
  longestPiece(): LongestPiece | undefined {
    const runs = [...this.runs.values()];
    if (runs.length === 0) return undefined;
    // It may be loading a model, which it does while it draws nothing.
    if (!runs.some(({ isStarted }) => isStarted) && runs.some(({ request }) => this.loadSeconds(request) > 0))
      return { seconds: null };
    const params = runs.map(({ request }) => request.params);
    const paces = runs.map(({ request }) => this.#paceOf(request));
    const secondsPerPixel = Math.max(...paces.flatMap(({ mean, newest }) => [mean, newest]));
    const largest = Math.max(...params.map(imagePixelsOf));
    const images = params.reduce((sum, { num_images: count }) => sum + count, 0);
    const rows = Math.min(images, this.#rows);
    const { first_call_seconds: firstCallSeconds } = this.info.capabilities;
    const isFirstCall = firstCallSeconds !== null && params.some((each) => !this.#drawnSizes.has(sizeOf(each)));
    return {
      seconds: secondsPerPixel === 0 ? null : secondsPerPixel * largest * rows,
      ...(isFirstCall ? { atLeastSeconds: firstCallSeconds } : {}),
    };
  }

  /** It drew a whole image of this size: everything that is done at this size was done once. */
  noteDrawn({ params }: JobRequest): void {
    this.#drawnSizes.add(sizeOf(params));
  }

  #pixels(): number {
    return [...this.runs.values()].reduce((sum, { request }) => sum + pixelsOf(request.params), 0);
  }
}

function paceOf(stepSeconds: number, { native_width: width, native_height: height }: ModelInfo): number {
  return stepSeconds / (width * height);
}

function sizeOf({ width, height }: Pick<GenerationParams, "width" | "height">): string {
  return `${width}x${height}`;
}

/** Whether the engine begins it ahead of older jobs: who sees no previews gains nothing from an early start. */
export function isEager({ preview }: JobRequest): boolean {
  return preview !== null;
}

/** The worker on which `job` shows its first preview soonest; among equals the one with the least left to do. */
export function soonestWorker(workers: Iterable<WorkerLoad>, job: Placeable): WorkerLoad | undefined {
  let best: WorkerLoad | undefined;
  for (const worker of workers) {
    if (!worker.hasRoomFor(job)) continue;
    if (best === undefined || isSooner(worker, best, job)) best = worker;
  }
  return best;
}

function isSooner(a: WorkerLoad, b: WorkerLoad, { request }: Placeable): boolean {
  const difference = isEager(request) ? a.firstPreviewSeconds(request) - b.firstPreviewSeconds(request) : 0;
  if (difference !== 0) return difference < 0;
  return a.totalSeconds() + a.loadSeconds(request) < b.totalSeconds() + b.loadSeconds(request);
}
