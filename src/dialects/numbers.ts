/** Numbers as text, such as `num_inference_steps: "4"`: fal's own variants of some models take them so. */

/** @param names Fields whose text is taken for a number where it is one. */
export function withNumbers(body: unknown, names: readonly string[]): unknown {
  if (typeof body !== "object" || body === null || Array.isArray(body)) return body;
  const entries = Object.entries(body).map(([name, value]: [string, unknown]) => {
    const isNumber = names.includes(name) && typeof value === "string" && /^\d+(\.\d+)?$/.test(value);
    return [name, isNumber ? Number(value) : value];
  });
  return Object.fromEntries(entries);
}
