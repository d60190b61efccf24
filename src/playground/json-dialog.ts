/** Shows a result that was kept as JSON: pasted, or from a file. */
import { element, find } from "./dom.ts";
import { resultView } from "./result-view.ts";

export function prepareJsonDialog(): void {
  const dialog = find("json-dialog", HTMLDialogElement);
  const input = find("json-text", HTMLTextAreaElement);
  const file = find("json-file", HTMLInputElement);
  const view = find("json-view", HTMLElement);
  const show = (source: string): void => view.replaceChildren(...(source.trim() === "" ? [] : parsed(source)));

  find("open-json", HTMLButtonElement).addEventListener("click", () => dialog.showModal());
  input.addEventListener("input", () => show(input.value));
  file.addEventListener("change", () => {
    const [chosen] = file.files ?? [];
    if (chosen !== undefined) void chosen.text().then(show);
  });
  dialog.addEventListener("close", () => {
    input.value = "";
    file.value = "";
    show("");
  });
}

function parsed(source: string): HTMLElement[] {
  try {
    return resultView(JSON.parse(source));
  } catch (error) {
    const reason = error instanceof SyntaxError ? error.message : String(error);
    return [element("p", { className: "complaint", textContent: `This is not JSON: ${reason}` })];
  }
}
