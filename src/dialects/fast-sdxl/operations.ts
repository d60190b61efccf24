/** What the paths of fal's model do. */
import { inputSchema, outputSchema } from "../../openapi/operation.ts";
import { IMAGE, resultOperation, streamOperation } from "../latentcast/operations.ts";
import { fastSdxlInput, fastSdxlResult } from "./schema.ts";

const shape = {
  input: inputSchema("FastSdxlInput", fastSdxlInput),
  result: outputSchema("FastSdxlResult", fastSdxlResult, IMAGE),
};

export const fastSdxlOperation = resultOperation({
  ...shape,
  id: "fastSdxl",
  description: "In the shape of fal's model of that name; the same under every other name below `fal-ai`.",
});

export const fastSdxlStreamOperation = streamOperation({
  ...shape,
  id: "fastSdxlStream",
  description: "In the shape of fal's model of that name; the same under every other name below `fal-ai`.",
});
