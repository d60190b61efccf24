/** What A1111's web API answers beside images: progress, interruption, settings and lists. */
import type { FastifyInstance, FastifyReply, FastifyRequest, RouteShorthandOptions } from "fastify";
import { checkpointOf } from "../../dialects/a1111/checkpoint.ts";
import { A1111Exchange } from "../../dialects/a1111/exchange.ts";
import { LISTS } from "../../dialects/a1111/lists.ts";
import {
  checkpointsOperation,
  configOperation,
  interruptOperation,
  listOperation,
  loginOperation,
  optionsOperation,
  progressOperation,
  queueStatusOperation,
  refreshOperation,
  setOptionsOperation,
  skipOperation,
  taskOperation,
} from "../../dialects/a1111/operations.ts";
import { currentOptions, wantedModel } from "../../dialects/a1111/options.ts";
import { progressOf, taskProgressOf } from "../../dialects/a1111/progress.ts";
import { options as settings, taskInput } from "../../dialects/a1111/schema.ts";
import { LatentcastError } from "../../errors.ts";
import { invalidRequest } from "../../jobs/request.ts";
import type { Jobs } from "../../jobs/jobs.ts";
import type { Operation } from "../../openapi/operation.ts";
import { packageVersion } from "../../package-info.ts";
import { parseObject } from "../../schema/parse.ts";
import { documented } from "../documented.ts";
import { listLoras } from "../lora-folder.ts";
import { isKey } from "../plugins/auth.ts";
import type { PreferredModels } from "../preferred-models.ts";
import { callerOf } from "../request-owner.ts";
import { sendJson } from "../send-json.ts";
import type { RequestsUnderWay, RequestUnderWay } from "../under-way.ts";

export interface SdapiRoutesOptions {
  readonly jobs: Jobs;
  readonly underWay: RequestsUnderWay;
  readonly preferredModels: PreferredModels;
  readonly apiKeys: readonly string[];
  readonly loraDir: string | null;
}

/** All the settings that the web UI has are 60 kB. */
const BODY_LIMIT_BYTES = 2 ** 20;

const ROOT = "/sdapi/v1";

interface ProgressQuery {
  Querystring: { skip_current_image?: string };
}

export function sdapiRoutes(app: FastifyInstance, options: SdapiRoutesOptions): void {
  const { jobs, underWay, preferredModels, apiKeys, loraDir } = options;
  const models = (): string[] => jobs.models.map(({ id }) => id);
  const requestsOf = (request: FastifyRequest): RequestUnderWay[] =>
    underWay.of(callerOf(request)).filter(({ exchange }) => exchange instanceof A1111Exchange);
  const newest = (requests: readonly RequestUnderWay[]): RequestUnderWay | undefined =>
    requests.findLast(({ job }) => job.state.kind === "running") ?? requests.at(-1);
  const interrupt = (request: FastifyRequest): void => {
    for (const { job } of requestsOf(request)) jobs.cancel(job, "cancelled_by_client");
  };

  app.get<ProgressQuery>(`${ROOT}/progress`, documented(progressOperation), (request, reply) => {
    const skipsImage = /^(true|1|yes|on)$/i.test(request.query.skip_current_image ?? "");
    return sendJson(reply, progressOf(newest(requestsOf(request))?.job, performance.now(), { skipsImage }));
  });
  app.post("/internal/progress", small(taskOperation, { isUncounted: true }), (request, reply) => {
    const parsed = parseObject(taskInput, request.body);
    if (!parsed.ok) throw invalidRequest(parsed.problems);
    const { id_task: label } = parsed.input;
    const named = newest(requestsOf(request).filter(({ exchange }) => exchange.label === label));
    const hasEnded = named === undefined && underWay.hasEnded(callerOf(request), label);
    return sendJson(reply, taskProgressOf(named?.job, hasEnded, parsed.input, performance.now()));
  });
  app.post(`${ROOT}/interrupt`, small(interruptOperation, { isUncounted: true }), (request) => {
    interrupt(request);
    return {};
  });
  app.post(`${ROOT}/skip`, small(skipOperation, { isUncounted: true }), (request, reply) => {
    interrupt(request);
    return sendNull(reply);
  });

  app.get(`${ROOT}/options`, documented(optionsOperation), (request) =>
    currentOptions(preferredModels.of(callerOf(request)) ?? jobs.model?.id),
  );
  app.post(`${ROOT}/options`, small(setOptionsOperation), (request, reply) => {
    const parsed = parseObject(settings, request.body);
    if (!parsed.ok) throw invalidRequest(parsed.problems);
    const model = wantedModel(parsed.input, models());
    if (model !== undefined) preferredModels.set(callerOf(request), model);
    return sendNull(reply);
  });
  app.get(`${ROOT}/sd-models`, documented(checkpointsOperation), () => models().map(checkpointOf));
  app.get(`${ROOT}/loras`, documented(listOperation("loras")), async () =>
    (await listLoras(loraDir)).map(({ path }) => ({ name: path, alias: path, path, metadata: {} })),
  );
  for (const [name, list] of Object.entries(LISTS))
    app.get(`${ROOT}/${name}`, documented(listOperation(name)), () => list);
  for (const what of ["Checkpoints", "Vae", "Loras"])
    app.post(`${ROOT}/refresh-${what.toLowerCase()}`, small(refreshOperation(what)), (_request, reply) =>
      sendNull(reply),
    );
  gradioRoutes(app, { jobs, apiKeys });
}

/** Programs look at the web UI itself to see whether it runs. */
function gradioRoutes(app: FastifyInstance, { jobs, apiKeys }: Pick<SdapiRoutesOptions, "jobs" | "apiKeys">): void {
  app.get("/queue/status", documented(queueStatusOperation), () => ({ msg: "estimation", queue_size: jobs.waiting }));
  app.get("/config", documented(configOperation), () => ({ version: packageVersion(), title: "Latentcast" }));
  void app.register(async (scope) => {
    scope.addContentTypeParser("application/x-www-form-urlencoded", { parseAs: "string" }, (_request, body, done) => {
      done(null, Object.fromEntries(new URLSearchParams(body.toString())));
    });
    scope.post("/login", small(loginOperation), ({ body }) => {
      const password = typeof body === "object" && body !== null && "password" in body ? body.password : "";
      if (!isKey(apiKeys, typeof password === "string" ? password : ""))
        throw new LatentcastError("bad_request", { message: "Incorrect credentials." });
      return { success: true };
    });
  });
}

function small(operation: Operation, config: { readonly isUncounted?: boolean } = {}): RouteShorthandOptions {
  return { bodyLimit: BODY_LIMIT_BYTES, config: { ...documented(operation).config, ...config } };
}

/** Fastify sends nothing at all for null. */
function sendNull(reply: FastifyReply): FastifyReply {
  return reply.header("content-type", "application/json; charset=utf-8").send("null");
}
