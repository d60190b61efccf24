/** The routes of all dialects that make images, with the result or with events as it forms. */
import type { FastifyInstance, FastifyReply, FastifyRequest } from "fastify";
import type { Dialect, DialectRoute, Exchange, ResponseKind } from "../../dialects/dialect.ts";
import { modelName } from "../../dialects/model-name.ts";
import { DIALECTS } from "../../dialects/registry.ts";
import { LatentcastError, toLatentcastError } from "../../errors.ts";
import type { InputReader } from "../../images/source.ts";
import type { Entry } from "../../jobs/event-log.ts";
import { terminalError, isTerminal, type JobResult } from "../../jobs/events.ts";
import type { Job } from "../../jobs/job.ts";
import { invalidRequest } from "../../jobs/request.ts";
import type { Jobs } from "../../jobs/jobs.ts";
import type { Submission } from "../../jobs/submission.ts";
import type { PublishedImages } from "../../storage/published-images.ts";
import { startTimeoutMs } from "../fal-headers.ts";
import { acceptForms } from "../plugins/forms.ts";
import { traceparent } from "../plugins/request-spans.ts";
import type { PreferredModels } from "../preferred-models.ts";
import { publicUrl } from "../public-url.ts";
import { callerOf } from "../request-owner.ts";
import { sendJson } from "../send-json.ts";
import { sendEvents, StreamFailure } from "../sse.ts";
import type { RequestsUnderWay } from "../under-way.ts";

export interface GenerateRoutesOptions {
  readonly jobs: Jobs;
  readonly images: PublishedImages;
  /** What requests may start from. */
  readonly inputReader: InputReader;
  readonly publicUrl: string | null;
  readonly underWay: RequestsUnderWay;
  readonly preferredModels: PreferredModels;
}

/**
 * A request that comes while the model loads waits this long for it before it is answered `worker_unavailable`. Loading SDXL from
 * a local disk takes 10 to 40 s; a download takes minutes, and no client waits that long for its first byte.
 */
const MODEL_TIMEOUT_MS = 60_000;
/**
 * A stream waits this long for the model before its headers are sent, so that a request which the model cannot serve gets a 4xx. Not
 * longer: proxies give up after 30 or 60 s of silence. A refusal that comes later is an event.
 */
const STATUS_PATIENCE_MS = 5_000;

/** An accepted request. */
interface Accepted {
  readonly responseKind: ResponseKind;
  readonly exchange: Exchange;
  readonly job: Job;
  readonly events: AsyncIterable<Entry>;
  /** The body of the result. Rejects with `storage_full` when its images cannot be kept as files. */
  readonly render: (result: JobResult) => Promise<object>;
}

export function generateRoutes(app: FastifyInstance, options: GenerateRoutesOptions): void {
  const add = (scope: FastifyInstance, takesForms: boolean): void => {
    for (const dialect of DIALECTS) {
      for (const route of dialect.routes)
        if ((route.takesForms ?? false) === takesForms) addRoute(scope, dialect, route, options);
    }
  };
  add(app, false);
  void app.register(async (scope) => {
    await acceptForms(scope);
    add(scope, true);
  });
}

function addRoute(app: FastifyInstance, dialect: Dialect, route: DialectRoute, options: GenerateRoutesOptions): void {
  const { path, operation } = route;
  // The limit of a key counts these until their response is complete.
  const config = { waitsForImage: true, takesToken: true, ...(operation === undefined ? {} : { operation }) };
  const read = route.read ?? dialect.read;
  app.post(path, { config }, async (request, reply) => {
    const accepted = await begin({ ...route, read }, options, request, reply);
    if (accepted.responseKind === "result") return sendResult(accepted, reply);
    await acceptedWithin(accepted.job, STATUS_PATIENCE_MS);
    return sendEvents(reply, frames(accepted));
  });
}

function takesAnyName(pattern: string): boolean {
  return pattern.includes(":");
}

async function begin(
  route: Required<Pick<DialectRoute, "path" | "responseKind" | "read">>,
  { jobs, images, inputReader, underWay, preferredModels, publicUrl: configuredUrl }: GenerateRoutesOptions,
  request: FastifyRequest,
  reply: FastifyReply,
): Promise<Accepted> {
  const path = request.url.split("?", 1)[0] ?? "/";
  if (takesAnyName(route.path) && modelName(path) === undefined)
    throw new LatentcastError("not_found", { message: `Path ${path} not found` });
  const asked = { path, body: request.body };
  // The images in it would be kept for as long as the response takes.
  request.body = undefined;
  const read = route.read(asked);
  if (!read.ok) throw invalidRequest(read.problems);
  const { warnings, exchange } = read;
  // As data URIs they may be as long as the body, and the job keeps its input.
  const { image_url: _image, mask_url: _mask, ...input } = read.input;
  const gone = new AbortController();
  // `request.signal` fires as soon as a POST body has been read; only the response knows when its client leaves.
  reply.raw.once("close", () => gone.abort());
  const submission: Submission = {
    input,
    id: request.id,
    warnings,
    traceparent: traceparent(request),
    chooseModel:
      exchange.chooseModel === undefined
        ? undefined
        : (names) => exchange.chooseModel?.(names, preferredModels.of(callerOf(request))),
    fit: (given, model) => exchange.fit(given, model),
    outputQuality: exchange.outputQuality,
    startTimeoutMs: startTimeoutMs(request),
    modelTimeoutMs: MODEL_TIMEOUT_MS,
  };
  // Admitted first: no input image is decoded for a request that is refused.
  using admission = jobs.admit(submission);
  const { signal } = gone;
  const opened = await (read.inputs === undefined
    ? inputReader.open(read.input, signal)
    : inputReader.openSources(read.inputs, input, signal));
  const job = jobs.submit({ ...submission, inputs: opened?.inputs }, admission);
  underWay.add({ caller: callerOf(request), exchange, job }, signal);
  const published = { isInline: input.sync_mode, baseUrl: publicUrl(request, configuredUrl) };
  return {
    responseKind: route.responseKind(asked),
    exchange,
    job,
    events: job.follow({ signal: gone.signal }),
    render: async (result) => exchange.result(result, job, await images.publish(result.images, published)),
  };
}

/** Resolves when nothing refuses the job any more, or after `patienceMs`. Rejects with the error of a job that is refused before. */
async function acceptedWithin(job: Job, patienceMs: number): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const patience = new Promise<void>((resolve) => {
    timer = setTimeout(resolve, patienceMs);
  });
  await Promise.race([taken(job), patience]).finally(() => clearTimeout(timer));
}

/** Whether LoRAs fit the model is seen by the worker that reads them, which is before it begins. */
async function taken(job: Job): Promise<void> {
  const { params } = await job.resolved;
  if (params.loras.length > 0) await job.begun;
}

/** Waits for the end of the job and sends its result. */
async function sendResult({ exchange, job, events, render }: Accepted, reply: FastifyReply): Promise<FastifyReply> {
  for await (const { event } of events) {
    if (!isTerminal(event)) continue;
    if (event.kind === "succeeded") return sendJson(reply, await render(event.result));
    const isInterrupted = event.kind === "cancelled" && event.reason === "cancelled_by_client";
    if (isInterrupted && exchange.interrupted !== undefined)
      return sendJson(reply, await exchange.interrupted(job, job.newestPreview));
    throw terminalError(event);
  }
  throw new LatentcastError("cancelled");
}

async function* frames({ exchange, job, events, render }: Accepted): AsyncGenerator<string | Buffer, void, undefined> {
  for await (const { event } of events) {
    if (event.kind === "preview") {
      const body = await exchange.preview(event, job);
      if (body !== undefined) yield exchange.frame({ kind: "preview", body });
    }
    if (!isTerminal(event)) continue;
    let error: LatentcastError;
    try {
      if (event.kind !== "succeeded") throw terminalError(event);
      yield exchange.frame({ kind: "result", body: await render(event.result) });
      return;
    } catch (thrown) {
      error = toLatentcastError(thrown);
    }
    yield exchange.frame({ kind: "error", error });
    throw new StreamFailure(error.message, { cause: error });
  }
}
