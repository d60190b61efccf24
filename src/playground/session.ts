/** What the visitor does and what the page shows of it: runs on the stage, from the request to the kept picture. */
import type { GenerateInput, LatentcastError } from "../client/index.ts";
import { describeFailure, nextStep, problemsOf } from "./advice.ts";
import { Announcer } from "./announcer.ts";
import { find, wantsLessMotion } from "./dom.ts";
import type { Form } from "./form.ts";
import { askForKey } from "./key-dialog.ts";
import { Plate, type FrameContent } from "./plate.ts";
import { Run } from "./run.ts";
import type { Service } from "./service.ts";
import { Stage } from "./stage.ts";
import { describeFacts, describeRuns, describeWaiting, describeWarnings } from "./status.ts";
import { Timeline } from "./timeline.ts";
import { laterSeed, randomSeed, type Values } from "./values.ts";

export interface SessionHooks {
  /** Resolves once the form says all that was given. */
  readonly settled: () => Promise<void>;
  /** What is sent for these values. */
  readonly toRequest: (values: Values) => Promise<GenerateInput>;
  /** The values of what is on the stage now. */
  readonly shown: (values: Values) => void;
  readonly finished: (plate: Plate) => Promise<void>;
  /** The server has drawn something. */
  readonly drawn: () => void;
  /** A picture is to be looked at in full. */
  readonly opened: (plate: Plate) => void;
  /** Something that buttons depend on has changed. */
  readonly changed: () => void;
}

/** What is said below a picture that is drawn live. */
export interface LiveWords {
  readonly status: string;
  readonly facts: string;
  readonly remark: string;
}

/** An earlier picture and how it formed. */
interface Earlier {
  readonly values: Values;
  readonly frames: readonly FrameContent[];
}

export class Session {
  readonly stage: Stage;
  readonly timeline: Timeline;
  service: Service = { kind: "loading", stage: "", progress: null };
  readonly #form: Form;
  readonly #hooks: SessionHooks;
  readonly #announcer = new Announcer();
  readonly #status = find("status", HTMLElement);
  readonly #facts = find("facts", HTMLElement);
  readonly #remark = find("remark", HTMLElement);
  readonly #alert = find("alert", HTMLElement);
  readonly #next = find("next-step", HTMLButtonElement);
  #takeNextStep: () => void = () => undefined;
  #runs: readonly Run[] = [];
  #isSettling = false;
  #live: LiveWords | undefined;

  constructor(form: Form, hooks: SessionHooks) {
    this.#form = form;
    this.#hooks = hooks;
    this.stage = new Stage({ chosen: () => hooks.changed(), opened: (plate) => hooks.opened(plate) });
    this.timeline = new Timeline((position, fade) => this.stage.show(position, { fade }));
    this.#next.addEventListener("click", () => this.#takeNextStep());
  }

  get isBusy(): boolean {
    return this.#isSettling || this.#runs.some(({ isOver }) => !isOver);
  }

  /** Runs the form; several seeds at once if it says so. Resolves when all of them are over. */
  async generate(): Promise<void> {
    this.#isSettling = true;
    await this.#hooks.settled();
    // Stopped meanwhile.
    if (!this.#isSettling) return;
    this.#isSettling = false;
    const values = { ...this.#form.read() };
    if (!this.#form.isLocked || values.seed === "") values.seed = randomSeed();
    this.#form.write({ seed: values.seed });
    this.#hooks.shown(values);
    await this.#perform(runsOf(values), []);
  }

  /** One more picture like this one, with another seed, beside it. */
  async compareSeeds(plate: Plate): Promise<void> {
    await this.#perform([{ ...plate.values, seed: randomSeed() }], [plate]);
  }

  stop(): void {
    this.#isSettling = false;
    for (const run of this.#runs) run.stop();
  }

  /** Shows an earlier picture, beside what is there when `isAddition`. */
  open({ values, frames }: Earlier, isAddition: boolean): void {
    const plate = new Plate(values);
    for (const frame of frames) plate.add(frame);
    this.#runs = [];
    this.#forgetFailure();
    this.stage.set([...(isAddition ? this.stage.chosen.slice(0, 1) : []), plate], 1);
    this.#hooks.shown(values);
    this.refresh();
    this.#rest();
  }

  /** Puts a picture that is drawn live on the stage, alone. */
  showLive(plate: Plate): void {
    this.#runs = [];
    this.#forgetFailure();
    this.stage.set([plate], 1);
    this.refresh();
    this.timeline.offer([]);
  }

  /** The live picture has become another one. */
  refreshLive(): void {
    this.stage.show(1, { fade: true });
    this.#hooks.drawn();
    this.#hooks.changed();
  }

  /** Undefined when nothing is drawn live any more. */
  sayLive(words: LiveWords | undefined): void {
    this.#live = words;
    this.refresh();
  }

  refresh(): void {
    const live = this.#runs.length === 0 ? this.#live : undefined;
    const status = live?.status ?? describeRuns(this.#runs, this.service);
    this.#status.textContent = status;
    this.#facts.textContent = live?.facts ?? describeFacts(this.#runs);
    this.#remark.textContent = live?.remark ?? describeWarnings(this.#runs);
    const mean = this.#runs.reduce((sum, { progress }) => sum + progress, 0) / Math.max(1, this.#runs.length);
    this.timeline.setProgress(this.isBusy ? mean : null, status);
    this.stage.setForming((plate) => this.#runs.some((run) => !run.isOver && run.plates.includes(plate)));
    this.stage.setNotes((plate) => {
      const run = this.#runs.find(({ plates }) => plates.includes(plate));
      // Why the only one failed is said below, with what to do.
      const isSaidBelow = this.#runs.length === 1 && run?.state.kind === "failed";
      return run === undefined || isSaidBelow ? "" : describeWaiting(run);
    });
    if (this.isBusy) this.#announcer.progress(status, mean);
    this.#hooks.changed();
  }

  async #perform(wanted: readonly Values[], beside: readonly Plate[]): Promise<void> {
    this.#forgetFailure();
    const model = "model" in this.service ? this.service.model : undefined;
    this.#runs = wanted.map((values) => new Run(values, this.#hooks.toRequest, () => this.#follow()));
    this.stage.set(
      [...beside, ...this.#runs.flatMap(({ plates }) => plates)],
      model === undefined ? 1 : model.nativeWidth / model.nativeHeight,
    );
    this.#announcer.begin();
    this.refresh();
    // On a small screen the button is below the picture.
    find("plates", HTMLElement).scrollIntoView({
      block: "nearest",
      behavior: wantsLessMotion() ? "instant" : "smooth",
    });
    await Promise.all(this.#runs.map((run) => this.#settle(run)));
    await this.#end(beside);
  }

  async #settle(run: Run): Promise<void> {
    await run.start();
    if (run.state.kind !== "succeeded") return;
    this.#hooks.drawn();
    // A browser that keeps nothing (private windows) still shows everything.
    await Promise.all(run.plates.map((plate) => this.#hooks.finished(plate).catch(() => undefined)));
  }

  async #end(beside: readonly Plate[]): Promise<void> {
    const failures = this.#runs.flatMap(({ state, values }) =>
      state.kind === "failed" ? [{ error: state.error, values }] : [],
    );
    const [failure] = failures;
    this.refresh();
    this.#rest();
    this.#announcer.say(failure === undefined ? describeRuns(this.#runs, this.service) : "Failed");
    if (failure === undefined) return;
    const done = this.#runs.flatMap(({ state, plates }) => (state.kind === "succeeded" ? plates : []));
    const again = (change: (values: Values) => Values): void => {
      const changed = failures.map(({ values }) => change(values));
      if (changed.length === 1 && changed[0] !== undefined) this.#hooks.shown(changed[0]);
      void this.#perform(changed, [...beside, ...done]);
    };
    if (failures.some(({ error }) => error.code === "unauthorized") && (await askForKey())) {
      again((values) => values);
      return;
    }
    this.#showFailure(failure.error, again);
  }

  #showFailure(error: LatentcastError, again: (change: (values: Values) => Values) => void): void {
    const minSide = "model" in this.service ? this.service.model?.minSide : undefined;
    const next = nextStep(error, minSide ?? 0);
    this.#alert.textContent = describeFailure(error);
    this.#alert.hidden = false;
    this.#next.hidden = next === undefined;
    this.#next.textContent = next?.label ?? "";
    this.#takeNextStep = () => next && again(next.change);
    this.#form.complain(problemsOf(error));
  }

  #forgetFailure(): void {
    this.#alert.hidden = true;
    this.#next.hidden = true;
    this.#form.complain([]);
  }

  /** Shows the newest of each picture. */
  #follow(): void {
    this.stage.show(1, { fade: true });
    this.refresh();
  }

  #rest(): void {
    this.stage.show(1, { fade: false });
    this.timeline.offer(this.stage.plates);
    this.#hooks.changed();
  }
}

/** Of several runs at once each has the next seed after the pictures of the one before. */
function runsOf(values: Values): Values[] {
  const count = Number(values.runs) || 1;
  const images = Number(values.num_images) || 1;
  return Array.from({ length: count }, (_, index) => ({ ...values, seed: laterSeed(values, index * images) }));
}
