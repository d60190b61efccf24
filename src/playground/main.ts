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
import { serviceText, watchService, type Model, type Service } from "./service.ts";
import { Session } from "./session.ts";
import { readLink } from "./link.ts";
import { LoraPicker } from "./lora-picker.ts";
import { ModelPicker } from "./model-picker.ts";
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
    // First: what the values do not set is as their model has it.
    models.follow(values.model);
    form.write({ ...values, model: form.value("model") });
    start.follow(values);
    remember(values);
  },
  finished: (plate) => {
    void loras.load();
    return earlier.keep(plate);
  },
  drawn: () => {
    if (!models.isLoaded) askService();
  },
  opened: look,
  changed: () => refresh(),
});
const start: StartImage = new StartImage(form, inputs, {
  changed: () => remember(form.read()),
  painted: () => live.changed(),
  sizeLike: (image) => (models.model === undefined ? undefined : sizeLike(image, models.model)),
});
const live: Live = new Live(form, session, start);
const loras = new LoraPicker(form, () => {
  remember(form.read());
  live.changed();
});
const models: ModelPicker = new ModelPicker(form, {
  chosen: (model, name) => {
    showModel(model, name);
    showStatus();
  },
  picked: (model) => {
    form.fitSize(model);
    remember(form.read());
    live.changed();
  },
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

let service = session.service;
function showService(found: Service): void {
  service = found;
  if ("models" in service) models.setModels(service.models);
  showStatus();
}

function showStatus(): void {
  session.service = "models" in service ? { ...service, model: models.model } : service;
  const line = find("service", HTMLElement);
  line.dataset["status"] = session.service.kind;
  find("service-text", HTMLElement).textContent = serviceText(session.service);
  session.refresh();
}

function showModel(model: Model, name: string): void {
  form.setModel(model, name);
  void loras.setOffered(model.takesLoras);
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
async function openLinked(missing: readonly FieldName[], model: string): Promise<void> {
  await earlier.refresh();
  // The server may have answered by now, and the form name another model.
  const values = { ...form.read(), model };
  if (!form.isLocked || session.stage.plates.length > 0) return;
  const entry = await earlier.find((candidate) => makeSamePicture(candidate.values, values, missing));
  if (entry === undefined || session.stage.plates.length > 0) return;
  session.open(entry, false);
}

const linked = readLink(location.search);
const draft = readDraft();
const opened = draft ?? linked.values;
form.write(opened);
form.setLocked(linked.values.seed !== undefined);
start.follow(form.read());
const missing = draft === undefined ? linked.leftOut : [];
sayLeftOut(describeLeftOut(linked.leftOut, draft === undefined ? "foreign" : "own"));
prepareJsonDialog();
prepareKeyDialog();
drawNoise(find("blank-noise", HTMLCanvasElement), 0);
refresh();
const askService = watchService(openClient(), showService);
// IndexedDB is not to be had in some private windows; the page does without.
openLinked(missing, opened.model ?? "").catch(() => undefined);
