/** Draws while things change: at once with few steps, and with all of them when they rest. The newest change wins. */
import { describeFailure } from "../advice.ts";
import type { LatentcastError } from "../../client/index.ts";
import { find } from "../dom.ts";
import type { Form } from "../form.ts";
import { askForKey } from "../key-dialog.ts";
import type { StartImage } from "../input-image/start-image.ts";
import { Plate } from "../plate.ts";
import type { Session } from "../session.ts";
import { seconds, sentences } from "../status.ts";
import { randomSeed, type Values } from "../values.ts";
import { Drafts } from "./drafts.ts";
import { Line, type LivePicture } from "./line.ts";

/** Rest after which a draft is drawn in full: longer than between two words, shorter than patience. */
const REST_MS = 600;
/** A slider changes with every frame; nobody sees that many pictures, and the server counts messages. */
const INTERVAL_MS = 50;

type Kind = "draft" | "full";

interface Asked {
  readonly kind: Kind;
  readonly values: Values;
  /** When the change was made that this draws. */
  readonly changedAt: number;
}

export class Live {
  readonly #form: Form;
  readonly #session: Session;
  readonly #start: StartImage;
  readonly #switch = find("live-switch", HTMLButtonElement);
  readonly #drafts = new Drafts();
  #line: Line | undefined;
  #isUp = true;
  #next: { readonly kind: Kind; readonly changedAt: number } | undefined;
  #isSending = false;
  /** By the number that the answer repeats. */
  readonly #asked = new Map<number, Asked>();
  #count = 0;
  /** What was asked for last, so that nothing is asked for twice. */
  #key = "";
  #rest: ReturnType<typeof setTimeout> | undefined;
  #plate: Plate | undefined;
  #facts = "";
  #remark = "";

  constructor(form: Form, session: Session, start: StartImage) {
    this.#form = form;
    this.#session = session;
    this.#start = start;
    this.#switch.addEventListener("click", () => this.#toggle());
  }

  /** The visitor has changed something. */
  changed(): void {
    this.#ask("draft");
  }

  /** Takes up what changed during a run: nothing is drawn live meanwhile. */
  resume(): void {
    void this.#send();
  }

  #toggle(): void {
    const isOn = this.#line === undefined;
    this.#switch.setAttribute("aria-checked", String(isOn));
    document.body.toggleAttribute("data-live", isOn);
    if (isOn) this.#open();
    else this.#close();
  }

  #open(): void {
    // With another seed each time, nothing of the picture would stay.
    if (this.#form.value("seed") === "") this.#form.write({ seed: randomSeed() });
    this.#form.setLocked(true);
    this.#line = new Line({
      picture: (id, picture) => this.#show(id, picture),
      failed: (id, error) => this.#complain(id, error),
      connected: (isUp) => this.#connected(isUp),
      refused: async () => {
        const hasKey = await askForKey();
        if (!hasKey) this.#toggle();
        return hasKey;
      },
    });
    this.#say();
    this.changed();
  }

  #close(): void {
    this.#line?.close();
    this.#line = undefined;
    this.#isUp = true;
    this.#forget();
    this.#next = undefined;
    this.#facts = "";
    this.#remark = "";
    this.#session.sayLive(undefined);
  }

  #connected(isUp: boolean): void {
    this.#isUp = isUp;
    this.#say();
    // What was under way gets no answer.
    const isUnanswered = this.#asked.size > 0 || this.#next !== undefined;
    if (!isUp || !isUnanswered) return;
    this.#forget();
    this.changed();
  }

  #forget(): void {
    clearTimeout(this.#rest);
    this.#asked.clear();
    this.#key = "";
  }

  #ask(kind: Kind): void {
    if (this.#line === undefined) return;
    clearTimeout(this.#rest);
    this.#next = { kind, changedAt: performance.now() };
    void this.#send();
  }

  /** One request is prepared at a time; what changes meanwhile is in the next. */
  async #send(): Promise<void> {
    if (this.#isSending) return;
    this.#isSending = true;
    try {
      while (this.#next !== undefined && this.#isUp && !this.#session.isBusy) {
        const { kind, changedAt } = this.#next;
        this.#next = undefined;
        if (await this.#sendOne(kind, changedAt)) await pause(INTERVAL_MS);
      }
    } finally {
      this.#isSending = false;
    }
  }

  /** Resolves with whether there was something new to send. */
  async #sendOne(kind: Kind, changedAt: number): Promise<boolean> {
    // The ids of what was painted, for whoever makes this picture again.
    if (kind === "full") await this.#start.settled();
    const form = this.#form.read();
    const values = kind === "draft" ? this.#drafts.of(form) : { ...form, num_images: "1", runs: "1" };
    const key = JSON.stringify([{ ...values, image: "", mask: "" }, this.#start.version]);
    if (values.prompt === "" || key === this.#key) return false;
    const files = await this.#start.image?.filesAt(this.#start.size);
    const line = this.#line;
    if (line === undefined) return false;
    this.#key = key;
    this.#count += 1;
    this.#asked.set(this.#count, { kind, values, changedAt });
    await line.send(this.#count, values, files);
    return true;
  }

  #show(id: number, { blob, width, height, inferenceMs, warnings }: LivePicture): void {
    const asked = this.#asked.get(id);
    // Numbers that are superseded get no picture.
    for (const older of this.#asked.keys()) if (older <= id) this.#asked.delete(older);
    if (asked === undefined || this.#session.isBusy) return;
    const { kind, values, changedAt } = asked;
    if (this.#plate === undefined || !this.#session.stage.plates.includes(this.#plate)) {
      this.#plate = new Plate(values);
      this.#session.showLive(this.#plate);
    }
    this.#plate.replace(values, { blob, width, height, position: 1, label: "finished" });
    this.#session.refreshLive();
    this.#remark = sentences(warnings);
    if (kind === "draft") {
      this.#drafts.measured(values, inferenceMs);
      this.#facts = `Drawn ${seconds(performance.now() - changedAt)} after the change`;
      if (id === this.#count) this.#rest = setTimeout(() => this.#ask("full"), REST_MS);
    }
    this.#say();
  }

  #complain(id: number, error: LatentcastError): void {
    if (!this.#asked.delete(id) || id !== this.#count) return;
    this.#session.sayLive({ status: describeFailure(error), facts: "", remark: "" });
  }

  #say(): void {
    const hasPrompt = this.#form.value("prompt") !== "";
    const live = hasPrompt ? "Live: the picture follows what you change" : "Live: describe a picture, and it follows";
    this.#session.sayLive({
      status: this.#isUp ? live : "Connection lost. Trying again.",
      facts: this.#facts,
      remark: this.#remark,
    });
  }
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => {
    setTimeout(resolve, ms);
  });
}
