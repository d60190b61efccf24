/** From a submission to what will be drawn, once the model is known. */
import { chooseModel, type Choice } from "./choose-model.ts";
import { sizedByImage } from "./image-size.ts";
import { resolveRequest, type JobRequest, type RequestLimits } from "./request.ts";
import type { Submission } from "./submission.ts";

/** What `submission` becomes on its model. Throws what {@link chooseModel} throws, and `invalid_request` naming fields that cannot be served. */
export function resolveSubmission(submission: Submission, choice: Choice, limits: RequestLimits): JobRequest {
  const { input, inputs, fit, outputQuality, traceparent = null, ...given } = submission;
  const { serving, ...chosen } = chooseModel(submission, choice);
  const sized = inputs === undefined ? { input, warnings: [] } : sizedByImage(input, inputs.size, serving.model);
  const fitted = fit?.(sized.input, serving.model) ?? { input: sized.input, warnings: [] };
  const warnings = [...(given.warnings ?? []), ...chosen.warnings, ...sized.warnings, ...fitted.warnings];
  return resolveRequest(fitted.input, serving, limits, { inputs, outputQuality, warnings, traceparent });
}
