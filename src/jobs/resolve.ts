/** From a submission to what will be drawn, once the model is known. */
import { sizedByImage } from "./image-size.ts";
import { resolveRequest, type JobRequest, type RequestLimits, type Serving } from "./request.ts";
import type { Submission } from "./submission.ts";

/** What `submission` becomes on this model. Throws `invalid_request` naming the fields that it cannot serve. */
export function resolveSubmission(
  { input, inputs, fit, outputQuality, traceparent = null, ...given }: Submission,
  serving: Serving,
  limits: RequestLimits,
): JobRequest {
  const sized = inputs === undefined ? { input, warnings: [] } : sizedByImage(input, inputs.size, serving.model);
  const fitted = fit?.(sized.input, serving.model) ?? { input: sized.input, warnings: [] };
  const warnings = [...(given.warnings ?? []), ...sized.warnings, ...fitted.warnings];
  return resolveRequest(fitted.input, serving, limits, { inputs, outputQuality, warnings, traceparent });
}
