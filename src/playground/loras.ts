/** LoRAs as the form says them: `name:scale`, one after the other. */

export interface ChosenLora {
  readonly path: string;
  /** As it was typed. */
  readonly scale: string;
}

export function readLoras(text: string): ChosenLora[] {
  return text
    .split(",")
    .filter(Boolean)
    .map((entry) => {
      const [path = "", scale = "1"] = entry.split(":");
      return { path: decoded(path), scale };
    });
}

export function writeLoras(loras: readonly ChosenLora[]): string {
  // Names may hold any character; encoded ones have neither commas nor colons.
  return loras.map(({ path, scale }) => `${encodeURIComponent(path)}:${scale}`).join();
}

/** For the request. What is no number is for the server to judge. */
export function toLoraInput(text: string): { path: string; scale: unknown }[] {
  return readLoras(text).map(({ path, scale }) => ({ path, scale: scale === "" ? 1 : numberOr(scale) }));
}

function numberOr(text: string): unknown {
  return Number.isFinite(Number(text)) ? Number(text) : text;
}

/** Links may be cut anywhere. */
function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}
