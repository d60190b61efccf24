/** AUTOMATIC1111's web API, as far as other programs use it. What they need, and where they break, is in docs/a1111.md. */
import { parseObject } from "../../schema/parse.ts";
import type { Dialect, DialectRequest, ReadRequest } from "../dialect.ts";
import { a1111ErrorResponse } from "./error.ts";
import { A1111Exchange } from "./exchange.ts";
import { meaningfulFields } from "./fields.ts";
import { inputFromA1111, startWarnings, toInputs } from "./input.ts";
import { img2imgOperation, txt2imgOperation } from "./operations.ts";
import { img2imgInput, txt2imgInput } from "./schema.ts";

export const a1111Dialect: Dialect = {
  name: "a1111",
  prefixes: ["/sdapi", "/internal/progress", "/login"],
  routes: [
    { path: "/sdapi/v1/txt2img", responseKind: () => "result", operation: txt2imgOperation },
    { path: "/sdapi/v1/img2img", responseKind: () => "result", read: readImg2img, operation: img2imgOperation },
  ],
  read: readTxt2img,
  error: a1111ErrorResponse,
};

function readTxt2img({ body }: DialectRequest): ReadRequest {
  const parsed = parseObject(txt2imgInput, meaningfulFields(body));
  if (!parsed.ok) return parsed;
  const converted = inputFromA1111(parsed.input, parsed.warnings);
  return converted.ok ? { ...converted, exchange: new A1111Exchange(parsed.input) } : converted;
}

function readImg2img({ body }: DialectRequest): ReadRequest {
  const parsed = parseObject(img2imgInput, meaningfulFields(body));
  if (!parsed.ok) return parsed;
  const { input: fields } = parsed;
  const warnings = [...startWarnings(fields), ...parsed.warnings];
  const converted = inputFromA1111(fields, warnings, fields.denoising_strength);
  if (!converted.ok) return converted;
  return { ...converted, inputs: toInputs(fields), exchange: new A1111Exchange(fields) };
}
