/** Asks for the key of a server that wants one. */
import { keepKey } from "./access.ts";
import { find } from "./dom.ts";

export function prepareKeyDialog(): void {
  // Not a submit button: Enter in the field would press the first of those.
  const dialog = find("key-dialog", HTMLDialogElement);
  find("key-cancel", HTMLButtonElement).addEventListener("click", () => dialog.close());
}

/** Resolves with whether there is a key to try now. */
export function askForKey(): Promise<boolean> {
  const dialog = find("key-dialog", HTMLDialogElement);
  const input = find("key", HTMLInputElement);
  dialog.returnValue = "";
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener(
      "close",
      () => {
        const key = input.value.trim();
        input.value = "";
        const isGiven = dialog.returnValue === "use" && key !== "";
        if (isGiven) keepKey(key);
        resolve(isGiven);
      },
      { once: true },
    );
  });
}
