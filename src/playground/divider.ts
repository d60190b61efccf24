/** The line between two pictures of which one lies over the other. */
import { element } from "./dom.ts";

/** To be put over the upper picture. A slider: drag it, press anywhere, or use the arrow keys. */
export function createDivider(): HTMLElement {
  const range = element("input", {
    attributes: {
      type: "range",
      min: "0",
      max: "100",
      step: "0.5",
      value: "50",
      "aria-label": "Divider between the pictures",
    },
  });
  const root = element("div", { className: "divider" }, [
    range,
    element("span", { className: "divider-line", attributes: { "aria-hidden": "true" } }),
  ]);
  range.addEventListener("input", () => {
    // On the frame, where the picture's edge is cut as well.
    root.parentElement?.style.setProperty("--split", `${range.value}%`);
  });
  return root;
}
