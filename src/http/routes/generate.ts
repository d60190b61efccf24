/** A picture, at once (`POST /`) or as it forms (`POST /stream`). The same under `/{owner}/{alias}`, as fal's clients name models. */
import type { FastifyInstance, FastifyReply, FastifyRequest } from "fastify";
import { LatentcastError, toLatentcastError } from "../../errors.ts";
import type { Entry } from "../../jobs/event-log.ts";
import { endingError, isTerminal, type JobResult } from "../../jobs/events.ts";
import type { Job } from "../../jobs/job.ts";
import { invalidRequest } from "../../jobs/request.ts";
import type { JobService } from "../../jobs/service.ts";
import type { PublishedImages } from "../../storage/published-images.ts";
import type { Dialect } from "../../dialects/dialect.ts";
import { modelName } from "../../dialects/model-name.ts";
import { dialectOf } from "../../dialects/registry.ts";
import { errorBody } from "../error-body.ts";
import { startTimeoutMs, traceparent } from "../fal-headers.ts";
import { publicUrl } from "../public-url.ts";
import { dataFrame, sendEvents, StreamFailure } from "../sse.ts";

export interface GenerateRoutesOptions {
  readonly jobs: JobService;
  readonly images: PublishedImages;
  readonly publicUrl: string | null;
}

/** Its caller's limit counts these until their answer is complete. */
const COUNTED = { config: { waitsForPicture: true } };

/**
 * A request that comes while the model loads waits this long for it before it is answered `worker_unavailable`. Loading SDXL from
 * a local disk takes 10 to 40 s; a download takes minutes, and no client waits that long for its first byte.
 */
const MODEL_TIMEOUT_MS = 60_000;

interface ByModel {
  Params: { owner?: string; alias?: string; "*"?: string };
}

/** One accepted request and what belongs to it. */
interface Accepted {
  readonly dialect: Dialect;
  readonly job: Job;
  readonly events: AsyncIterable<Entry>;
  /** The finished answer. Rejects with `storage_full` when its pictures cannot be kept as files. */
  readonly render: (result: JobResult) => Promise<object>;
}

export function generateRoutes(app: FastifyInstance, options: GenerateRoutesOptions): void {
  const run = async (request: FastifyRequest<ByModel>, reply: FastifyReply): Promise<FastifyReply> =>
    answer(await begin(options, request, reply), reply);
  const stream = async (request: FastifyRequest<ByModel>, reply: FastifyReply): Promise<FastifyReply> =>
    sendEvents(reply, frames(await begin(options, request, reply)));
  app.post("/", COUNTED, run);
  app.post("/stream", COUNTED, stream);
  app.post("/:owner/:alias", COUNTED, run);
  // Sub paths are variants of a model; here there is one.
  app.post("/:owner/:alias/*", COUNTED, (request: FastifyRequest<ByModel>, reply: FastifyReply) =>
    /(^|\/)stream$/.test(request.params["*"] ?? "") ? stream(request, reply) : run(request, reply),
  );
}

/** Runs the request to its end and answers the result. */
async function answer({ events, render }: Accepted, reply: FastifyReply): Promise<FastifyReply> {
  for await (const { event } of events) {
    if (!isTerminal(event)) continue;
    if (event.kind === "succeeded") return reply.send(await render(event.result));
    throw endingError(event);
  }
  throw new LatentcastError("cancelled");
}

/** Everything that can be refused is refused here, before a header has been sent. */
async function begin(
  { jobs, images, publicUrl: configuredUrl }: GenerateRoutesOptions,
  request: FastifyRequest<ByModel>,
  reply: FastifyReply,
): Promise<Accepted> {
  const dialect = dialectOf(requestedModel(request));
  const parsed = dialect.parse(request.body);
  if (!parsed.ok) throw invalidRequest(parsed.problems);
  const { input, warnings } = parsed;
  const gone = new AbortController();
  // `request.signal` fires as soon as a POST body has been read; only the response knows when its client leaves.
  reply.raw.once("close", () => gone.abort());
  const job = jobs.submit({
    input,
    id: request.id,
    warnings,
    traceparent: traceparent(request),
    fit: dialect.fit,
    startTimeoutMs: startTimeoutMs(request),
    modelTimeoutMs: MODEL_TIMEOUT_MS,
  });
  const events = job.follow({ signal: gone.signal });
  // What the model cannot make is refused with a status of its own, so the headers have to wait for the model.
  await job.resolved;
  const published = { isInline: input.sync_mode, baseUrl: publicUrl(request, configuredUrl) };
  const render = async (result: JobResult): Promise<object> =>
    dialect.result(result, job, await images.publish(result.images, published));
  return { dialect, job, events, render };
}

/** Empty for the server's own address. */
function requestedModel({ params: { owner }, url }: FastifyRequest<ByModel>): string {
  if (owner === undefined) return "";
  const path = url.split("?", 1)[0] ?? "";
  const model = modelName(path);
  if (model === undefined) throw new LatentcastError("not_found", { message: `Path ${path} not found` });
  return model;
}

async function* frames({ dialect, job, events, render }: Accepted): AsyncGenerator<string, void, undefined> {
  for await (const { event } of events) {
    if (event.kind === "preview") yield dataFrame(dialect.preview(event, job));
    if (!isTerminal(event)) continue;
    let error: LatentcastError;
    try {
      if (event.kind !== "succeeded") throw endingError(event);
      yield dataFrame(await render(event.result));
      return;
    } catch (thrown) {
      error = toLatentcastError(thrown);
    }
    yield dataFrame({ error: error.message, ...errorBody(error) });
    throw new StreamFailure(error.message, { cause: error });
  }
}
