/** What a strength does to an image, in words. */

/** Without a mask: new, and still the picture that was given. */
export const STRENGTH = "0.8";
/** With a mask: only what is outside of it is to be kept. The server's own default. */
export const MASKED_STRENGTH = "0.95";

const EFFECTS = [
  { below: 0.3, whole: "Stays close to your picture", masked: "The marked part changes a little" },
  { below: 0.55, whole: "Keeps the layout, redraws the details", masked: "The marked part keeps its layout" },
  { below: 0.85, whole: "Keeps the broad shapes and colours", masked: "The marked part keeps its broad shapes" },
  { below: 1, whole: "Keeps a hint of your picture", masked: "The marked part is drawn anew" },
  { below: Infinity, whole: "Hardly anything of your picture is left", masked: "Nothing of the marked part is left" },
] as const;

/** @param strength As it was typed. @param steps Of the request; NaN when not known yet. */
export function describeStrength(strength: string, steps: number, hasMask: boolean): string {
  // Empty is the server's default.
  const value = strength === "" ? Number(MASKED_STRENGTH) : Number(strength);
  const effect = EFFECTS.find(({ below }) => value < below);
  if (effect === undefined) return "";
  const words = hasMask ? effect.masked : effect.whole;
  const count = stepsToRun(value, steps);
  if (Number.isNaN(count)) return `${words}.`;
  if (count === 0) return `No step would run. The least is ${Math.ceil(1000 / steps) / 1000}.`;
  return `${words}. ${count} of ${steps} steps run.`;
}

/** The server's rule. */
function stepsToRun(strength: number, steps: number): number {
  return Math.min(Math.floor(steps * strength), steps);
}
