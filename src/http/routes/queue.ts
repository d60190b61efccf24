/** fal's queue: submit a request, ask for its status, fetch its result, cancel it. */
import type { FastifyInstance, FastifyReply, FastifyRequest } from "fastify";
import { LatentcastError } from "../../errors.ts";
import { invalidRequest } from "../../jobs/request.ts";
import { RequestPutOff } from "../../requests/request-events.ts";
import type { RequestQueue } from "../../requests/request-queue.ts";
import type { Cancellation, RequestStatus, RequestSubmission } from "../../requests/submission.ts";
import type { CancelReply as CancelBody, LogLine, QueueStatus, SubmitReply } from "../../schema/queue.ts";
import { modelName } from "../../dialects/model-name.ts";
import { falErrorBody } from "../../dialects/fal-error.ts";
import { dialectOf } from "../../dialects/registry.ts";
import { documented } from "../documented.ts";
import { priority, startTimeoutMs, webhookUrl } from "../fal-headers.ts";
import { traceparent } from "../plugins/request-spans.ts";
import { toSeconds } from "../../dialects/latentcast/dialect.ts";
import {
  cancelOperation,
  queueResultOperation,
  statusOperation,
  statusStreamOperation,
  submitOperation,
} from "../operations/queue.ts";
import { publicUrl } from "../public-url.ts";
import { EarlyCancellations } from "../request-id.ts";
import { refOf } from "../request-owner.ts";
import { dataFrame, sendEvents, StreamFailure } from "../sse.ts";
import { Conflict } from "../../storage/request-store.ts";
import type { AddressRules } from "../../net/addresses.ts";

export interface QueueRoutesOptions {
  readonly requests: RequestQueue;
  readonly publicUrl: string | null;
  /** Which addresses webhooks may have. */
  readonly webhooks: AddressRules;
}

interface ById {
  Params: { id: string };
  Querystring: { logs?: string };
}

interface Submit {
  Params: { "*"?: string };
  Querystring: { fal_webhook?: string; fal_max_queue_length?: string };
}

export function queueRoutes(app: FastifyInstance, { requests, ...options }: QueueRoutesOptions): void {
  const { publicUrl: configuredUrl, webhooks } = options;
  const cancelledEarly = new EarlyCancellations();
  const submit = async (request: FastifyRequest<Submit>): Promise<SubmitReply> => {
    // A page can send this without a preflight, and its webhook would be called even for a request that is refused.
    if (request.headers["content-type"] === undefined) throw new LatentcastError("unsupported_media_type");
    if (cancelledEarly.has(request.id)) throw new LatentcastError("cancelled");
    const model = queuedModel(request.params["*"]);
    const dialect = dialectOf(model);
    const { fal_webhook: webhook, fal_max_queue_length: maxLength } = request.query;
    const baseUrl = publicUrl(request, configuredUrl);
    const ref = refOf(request, request.id);
    const submission: RequestSubmission = {
      ...ref,
      app: model,
      dialect: dialect.name,
      baseUrl,
      priority: priority(request),
      startTimeoutMs: startTimeoutMs(request),
      webhookUrl: webhookUrl(webhook, webhooks),
      traceparent: traceparent(request),
    };
    const parsed = dialect.parse(request.body, `/${request.params["*"] ?? ""}`);
    const maxWaiting = maxLength !== undefined && /^\d+$/.test(maxLength) ? Number(maxLength) : undefined;
    let position = 0;
    try {
      if (!parsed.ok) await requests.refuse(submission, invalidRequest(parsed.problems));
      else position = await requests.accept(submission, parsed.input, { warnings: parsed.warnings, maxWaiting });
    } catch (error) {
      if (error instanceof Conflict)
        throw new LatentcastError("bad_request", { message: "There is a request with this id already." });
      // Its images cannot be read. Like every request that is wrong it is kept with its end.
      if (!(error instanceof LatentcastError) || error.code !== "invalid_request") throw error;
      await requests.refuse(submission, error);
    }
    // A cancellation that came while the request was written to the disk did not find it.
    if (cancelledEarly.has(request.id)) await requests.cancel(ref);
    const links = linksOf(baseUrl, model, request.id);
    return {
      status: "IN_QUEUE",
      ...links,
      events_url: `${links.response_url}/events`,
      gateway_request_id: request.id,
      queue_position: position,
      logs: null,
      metrics: {},
    };
  };
  app.post("/queue", documented(submitOperation), submit);
  app.post("/queue/*", submit);

  const result = async (request: FastifyRequest<ById>, reply: FastifyReply): Promise<FastifyReply> => {
    const { id } = request.params;
    const ref = refOf(request, id);
    const status = known(await requests.status(ref));
    const response = await requests.response(ref);
    if (response === undefined) {
      throw new LatentcastError("bad_request", {
        message: `The request is still ${status.kind === "queued" ? "in queue" : "in progress"}.`,
      });
    }
    return reply
      .code(response.status)
      .headers(response.headers)
      .header("x-fal-request-id", id)
      .header("content-type", "application/json; charset=utf-8")
      .send(response.body);
  };
  app.get("/requests/:id", documented(queueResultOperation), result);
  app.get("/requests/:id/response", result);

  app.get("/requests/:id/status", documented(statusOperation), async (request: FastifyRequest<ById>, reply) => {
    const { id } = request.params;
    const withLogs = wantsLogs(request);
    const status = known(await requests.status(refOf(request, id), { withLogs }));
    reply.header("x-fal-request-id", id).code(status.kind === "ended" ? 200 : 202);
    return toStatus(status, linksOf(publicUrl(request, configuredUrl), status.app, id), withLogs ? 0 : null);
  });

  app.get(
    "/requests/:id/status/stream",
    documented(statusStreamOperation),
    async (request: FastifyRequest<ById>, reply) => {
      const { id } = request.params;
      const ref = refOf(request, id);
      const { app: model } = known(await requests.status(ref));
      const gone = new AbortController();
      reply.raw.once("close", () => gone.abort());
      const links = linksOf(publicUrl(request, configuredUrl), model, id);
      reply.header("x-fal-request-id", id);
      return sendEvents(reply, statusFrames(requests.statuses(ref, gone.signal), links, wantsLogs(request)));
    },
  );

  const cancel = async (request: FastifyRequest<ById>, reply: FastifyReply): Promise<FastifyReply> => {
    const { id } = request.params;
    const cancellation = await requests.cancel(refOf(request, id));
    if (cancellation === "unknown") cancelledEarly.add(id);
    return sendCancel(reply, cancellation, id);
  };
  app.put("/requests/:id/cancel", documented(cancelOperation), cancel);
  app.post("/requests/:id/cancel", cancel);
}

/** Empty for the model of `POST /`. */
function queuedModel(path = ""): string {
  if (path === "") return "";
  const model = modelName(path);
  if (model === undefined) throw new LatentcastError("not_found", { message: `Path /queue/${path} not found` });
  return model;
}

type Links = Pick<SubmitReply, "request_id" | "response_url" | "status_url" | "cancel_url">;

function linksOf(baseUrl: string, model: string, id: string): Links {
  const url = `${baseUrl}${model === "" ? "" : `/queue/${model}`}/requests/${id}`;
  return { request_id: id, response_url: url, status_url: `${url}/status`, cancel_url: `${url}/cancel` };
}

function known(status: RequestStatus | undefined): RequestStatus {
  if (status === undefined)
    throw new LatentcastError("not_found", { message: "There is no such request, or it has expired." });
  return status;
}

function wantsLogs({ query }: FastifyRequest<ById>): boolean {
  return query.logs === "1" || query.logs === "true";
}

/** @param logsFrom Index of the first log line to send; null sends none. */
function toStatus(status: RequestStatus, links: Links, logsFrom: number | null): QueueStatus {
  const logs = (lines: readonly LogLine[]): LogLine[] | null => (logsFrom === null ? null : lines.slice(logsFrom));
  switch (status.kind) {
    case "queued":
      return {
        status: "IN_QUEUE",
        ...links,
        queue_position: status.position,
        ...(status.reason === undefined ? {} : { reason: status.reason }),
      };
    case "running":
      return { status: "IN_PROGRESS", ...links, logs: logs(status.logs) };
    case "ended": {
      const { result } = status;
      return {
        status: "COMPLETED",
        ...links,
        logs: logs(result.logs),
        metrics: result.inferenceMs === null ? {} : { inference_time: toSeconds(result.inferenceMs) },
        ...(result.error === null ? {} : { error: result.error.message, error_type: result.error.code }),
      };
    }
  }
}

/** One frame for each change; of the log only the lines that are new, since fal's client appends them. */
async function* statusFrames(
  statuses: AsyncIterable<RequestStatus>,
  links: Links,
  withLogs: boolean,
): AsyncGenerator<string, void, undefined> {
  let last = "";
  let logsSeen = 0;
  try {
    for await (const status of statuses) {
      const frame = dataFrame(toStatus(status, links, withLogs ? logsSeen : null));
      const lines = logsOf(status);
      const isNews =
        frame !== last && (status.kind !== "running" || lines.length > logsSeen || !last.includes("IN_PROGRESS"));
      if (!isNews) continue;
      last = frame;
      if (withLogs && status.kind !== "queued") logsSeen = lines.length;
      yield frame;
    }
  } catch (error) {
    throw error instanceof RequestPutOff ? new StreamFailure("the server ends", { cause: error }) : error;
  }
}

function logsOf(status: RequestStatus): readonly LogLine[] {
  if (status.kind === "queued") return [];
  return status.kind === "running" ? status.logs : status.result.logs;
}

function sendCancel(reply: FastifyReply, cancellation: Cancellation, id: string): FastifyReply {
  switch (cancellation) {
    case "removed":
      return reply.header("x-fal-request-id", id).send({ status: "OK" } satisfies CancelBody);
    case "stopping":
      return reply
        .code(202)
        .header("x-fal-request-id", id)
        .send({ status: "CANCELLATION_REQUESTED" } satisfies CancelBody);
    case "ended_before": {
      const error = new LatentcastError("bad_request", { message: "The request has ended already." });
      return reply
        .code(400)
        .header("x-fal-error-type", error.code)
        .send({ status: "ALREADY_COMPLETED", ...falErrorBody(error) });
    }
    case "unknown": {
      const error = new LatentcastError("not_found", { message: "There is no such request, or it has expired." });
      return reply
        .code(404)
        .header("x-fal-error-type", error.code)
        .send({ status: "NOT_FOUND", ...falErrorBody(error) });
    }
  }
}
