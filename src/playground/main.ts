/** The page: puts the form, the stage and the history together. */
import { hasKey, openClient } from "./access.ts";
import { Actions } from "./actions.ts";
import { Address, readDraft } from "./address.ts";
import { element, find } from "./dom.ts";
import { Form } from "./form.ts";
import type { HistoryEntry } from "./history-store.ts";
import { HistoryView } from "./history-view.ts";
import { prepareJsonDialog } from "./json-dialog.ts";
import { prepareKeyDialog } from "./key-dialog.ts";
import { drawNoise } from "./noise.ts";
import type { Plate } from "./plate.ts";
import { describeService, watchService, type Model, type Service } from "./service.ts";
import { Session } from "./session.ts";
import { readLink } from "./link.ts";
import { LoraList } from "./lora-list.ts";
import { Live } from "./live/live.ts";
import { InputStore } from "./input-image/input-store.ts";
import { RequestInputs } from "./input-image/request-inputs.ts";
import { StartImage } from "./input-image/start-image.ts";
import { sizeLike } from "./size-presets.ts";
import { describeLeftOut } from "./status.ts";
import { makeSamePicture, type FieldName, type Values } from "./values.ts";
import { Viewer, type Viewed } from "./viewer.ts";
import { VocabularyView } from "./vocabulary-view.ts";

/** As many as fit into the empty picture of a phone. */
const MAX_EXAMPLES = 4;

const prompt = find("prompt", HTMLTextAreaElement);
const go = find("go", HTMLButtonElement);

const form = new Form(() => {
  remember(form.read());
  live.changed();
});
const inputs = new InputStore();
const requests = new RequestInputs(inputs);
const session: Session = new Session(form, {
  settled: () => start.settled(),
  toRequest: (values) => requests.of(values),
  shown: (values) => {
    form.write(values);
    start.follow(values);
    remember(values);
  },
  finished: (plate) => {
    loadLoras();
    return earlier.keep(plate);
  },
  opened: look,
  changed: () => refresh(),
});
const start: StartImage = new StartImage(form, inputs, {
  changed: () => remember(form.read()),
  painted: () => live.changed(),
  sizeLike: (image) => (model === undefined ? undefined : sizeLike(image, model)),
});
const live: Live = new Live(form, session, start);
const loras = new LoraList(form, () => {
  remember(form.read());
  live.changed();
});
const startFrom = (image: Blob): void => {
  void start.take(image).then(() => find("start", HTMLElement).scrollIntoView({ block: "nearest" }));
};
const actions = new Actions(session, form, { needsKey: hasKey, look, startFrom });
const vocabulary = new VocabularyView();
const earlier = new HistoryView({
  open: (entry) => session.open(entry, false),
  compare: (entry) => session.open(entry, true),
  kept: (entries, isCleared) => {
    const values = [form.read(), ...entries.map((entry) => entry.values)];
    const used = new Set(values.flatMap(({ image, mask }) => [image, mask]));
    // Where the browser keeps nothing, nothing is to be given up.
    inputs.prune(used, ...(isCleared ? [0] : [])).catch(() => undefined);
  },
});
const viewer = new Viewer({
  pictures: async () => withThoseOnStage(await earlier.entries().catch(() => [])),
  use: (picture) => session.open(picture, false),
  startFrom,
  remove: (id) => earlier.remove(id),
  restore: (picture) => earlier.restore(picture),
});

function look(plate: Plate): void {
  void viewer.open(({ values }) => makeSamePicture(values, plate.values));
}

/** Where the browser keeps nothing, the pictures on the stage can be looked at all the same. */
function withThoseOnStage(entries: readonly HistoryEntry[]): readonly Viewed[] {
  const isKept = (plate: Plate): boolean => entries.some(({ values }) => makeSamePicture(values, plate.values));
  return [...session.stage.plates.filter((plate) => plate.finished !== undefined && !isKept(plate)), ...entries];
}

const address = new Address({
  defaults: () => form.defaults,
  written: (leftOut) => sayLeftOut(describeLeftOut(leftOut, "own")),
});

/** The address always names what is on the page, so that a copy of it brings it back. */
function remember(values: Values): void {
  address.set(values);
  vocabulary.read(values.prompt);
  start.refresh();
  loras.refresh();
  const ratio = Number(values.width) / Number(values.height);
  if (ratio > 0 && Number.isFinite(ratio)) find("blank", HTMLElement).style.setProperty("--ratio", String(ratio));
}

function sayLeftOut(text: string): void {
  find("link-note", HTMLElement).textContent = text;
}

function refresh(): void {
  go.textContent = session.isBusy ? "Stop" : "Generate";
  go.classList.toggle("stops", session.isBusy);
  document.body.dataset["state"] = session.isBusy ? "running" : session.stage.plates.length > 0 ? "shown" : "empty";
  actions.refresh();
  live.resume();
}

function showService(service: Service): void {
  session.service = service;
  const line = find("service", HTMLElement);
  line.dataset["status"] = service.kind;
  find("service-text", HTMLElement).textContent = describeService(service);
  if ("model" in service && service.model !== undefined) showModel(service.model);
  session.refresh();
}

function loadLoras(): void {
  if (model?.takesLoras === true) void loras.load();
}

let model: Model | undefined;
function showModel(loaded: Model): void {
  if (JSON.stringify(loaded) === JSON.stringify(model)) return;
  model = loaded;
  loadLoras();
  form.setModel(model);
  start.refresh();
  find("note", HTMLElement).textContent = model.note;
  vocabulary.setVocabulary(model.vocabulary);
  vocabulary.read(prompt.value);
  const examples = model.examples.slice(0, MAX_EXAMPLES).map((text) => {
    const button = element("button", { textContent: text, attributes: { type: "button" } });
    button.addEventListener("click", () => {
      form.write({ prompt: text });
      remember(form.read());
      if (!session.isBusy) void session.generate();
    });
    return element("li", {}, [button]);
  });
  find("examples", HTMLElement).replaceChildren(...examples);
}

form.root.addEventListener("submit", (event) => {
  event.preventDefault();
  if (session.isBusy) session.stop();
  else void session.generate();
});
prompt.addEventListener("keydown", (event) => {
  if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
  event.preventDefault();
  if (!session.isBusy) form.root.requestSubmit();
});
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape" && document.querySelector("dialog[open]") === null) session.stop();
});

/** A link shows its picture at once where this browser has it; otherwise one press makes it again. */
async function openLinked(missing: readonly FieldName[]): Promise<void> {
  await earlier.refresh();
  const values = form.read();
  if (!form.isLocked || session.stage.plates.length > 0) return;
  const entry = await earlier.find((candidate) => makeSamePicture(candidate.values, values, missing));
  if (entry === undefined || session.stage.plates.length > 0) return;
  session.open(entry, false);
}

const linked = readLink(location.search);
const draft = readDraft();
form.write(draft ?? linked.values);
form.setLocked(linked.values.seed !== undefined);
start.follow(form.read());
const missing = draft === undefined ? linked.leftOut : [];
sayLeftOut(describeLeftOut(linked.leftOut, draft === undefined ? "foreign" : "own"));
prepareJsonDialog();
prepareKeyDialog();
drawNoise(find("blank-noise", HTMLCanvasElement), 0);
refresh();
watchService(openClient(), showService);
// IndexedDB is not to be had in some private windows; the page does without.
openLinked(missing).catch(() => undefined);
