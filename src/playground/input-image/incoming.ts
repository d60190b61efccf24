/** The ways an image file comes into the page: chosen, dropped anywhere, or pasted. */
import { find } from "../dom.ts";

/** @param take Called with each file that came, whatever is in it. */
export function receiveFiles(take: (file: File) => void): void {
  const input = find("start-file", HTMLInputElement);
  for (const id of ["start-choose", "start-replace"]) {
    find(id, HTMLButtonElement).addEventListener("click", () => input.click());
  }
  input.addEventListener("change", () => {
    const [file] = input.files ?? [];
    input.value = "";
    if (file !== undefined) take(file);
  });
  document.addEventListener("paste", (event) => {
    const file = [...(event.clipboardData?.files ?? [])].find(({ type }) => type.startsWith("image/"));
    if (file === undefined || isDialogOpen()) return;
    event.preventDefault();
    take(file);
  });
  receiveDrops(take);
}

function receiveDrops(take: (file: File) => void): void {
  const sign = find("drop-sign", HTMLElement);
  const isWanted = (event: DragEvent): boolean =>
    event.dataTransfer !== null && event.dataTransfer.types.includes("Files") && !isDialogOpen();
  document.addEventListener("dragover", (event) => {
    if (!isWanted(event)) return;
    event.preventDefault();
    sign.hidden = false;
  });
  document.addEventListener("dragleave", ({ relatedTarget }) => {
    // Between two elements of the page there is no leaving.
    if (relatedTarget === null) sign.hidden = true;
  });
  document.addEventListener("drop", (event) => {
    sign.hidden = true;
    if (!isWanted(event)) return;
    event.preventDefault();
    const [file] = event.dataTransfer?.files ?? [];
    if (file !== undefined) take(file);
  });
}

function isDialogOpen(): boolean {
  return document.querySelector("dialog[open]") !== null;
}
