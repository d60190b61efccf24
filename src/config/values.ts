/** How the text of a setting becomes its value. A message says what is wrong with the text; the reader adds the name. */
import { z } from "zod";

export const trimmed = z.string().trim();
export const toggle = trimmed
  .pipe(z.enum(["0", "1", "true", "false", ""]))
  .transform((value) => value === "1" || value === "true");
export const commaList = z.string().transform((value, context) => {
  const items = value
    .split(",")
    .map((item) => item.trim())
    .filter((item) => item !== "");
  if (items.length === 0 && value !== "") context.addIssue({ code: "custom", message: "is an empty list" });
  return items;
});
/** A text, or a list of several with commas between; or with line breaks, where a text may have commas. */
export const oneOrSeveral = z
  .string()
  .min(1, "is empty")
  .transform((value, context): string | readonly string[] => {
    const separator = value.includes("\n") ? "\n" : ",";
    if (!value.includes(separator)) return value;
    const [first, ...others] = value
      .split(separator)
      .map((item) => item.trim())
      .filter((item) => item !== "");
    if (first === undefined) context.addIssue({ code: "custom", message: "is an empty list" });
    return first === undefined || others.length > 0 ? [first ?? "", ...others] : first;
  });
// `Number` takes a blank text for 0.
const decimal = trimmed.regex(/^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i, "is not a number").transform(Number);
export const whole = (min: number, max: number): z.ZodType<number> => decimal.pipe(z.int().min(min).max(max));
export const limit = (max: number): z.ZodType<number | null> =>
  z.union([z.literal("off").transform(() => null), whole(1, max)]);
/** Seconds, as milliseconds; at most a century, so that sums stay exact. */
export const secondsAsMs = decimal
  .pipe(
    z
      .number()
      .positive()
      .max(100 * 365 * 86_400),
  )
  .transform((value) => value * 1_000);
/** As browsers send it: a page's address up to the port, the port left out where it is the scheme's own. */
export const origin = z
  .string()
  .refine(
    (value) =>
      value === "*" ||
      value === "null" ||
      (URL.canParse(value) && /^[a-z][\w+.-]*:\/\/[^/?#@]+$/.test(value) && isOrigin(value)),
    "use origins such as https://page.example: no path, no slash at the end, no default port",
  );

function isOrigin(value: string): boolean {
  const { origin: canonical } = new URL(value);
  // Extensions of browsers have schemes whose origin URL does not know.
  return canonical === "null" || canonical === value;
}

export const orAuto = <Value>(schema: z.ZodType<Value>): z.ZodType<Value | null> =>
  z.union([z.literal("auto").transform(() => null), schema]);
