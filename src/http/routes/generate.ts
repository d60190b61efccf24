/** A picture, at once (`POST /`) or as it forms (`POST /stream`). The same under `/{owner}/{alias}`, as fal's clients name models. */
import type { FastifyInstance, FastifyReply, FastifyRequest } from "fastify";
import { LatentcastError } from "../../errors.ts";
import { isTerminal, type TerminalEvent } from "../../jobs/events.ts";
import type { Job } from "../../jobs/job.ts";
import type { Mailbox } from "../../jobs/mailbox.ts";
import { invalidRequest } from "../../jobs/request.ts";
import type { Orchestrator } from "../../orchestrator.ts";
import type { Dialect } from "../dialect.ts";
import { errorBody } from "../error-body.ts";
import { latentcastDialect } from "../latentcast-dialect.ts";
import { dataFrame, sendEvents, StreamFailure } from "../sse.ts";

/** Its caller's limit counts these until their answer is complete. */
const COUNTED = { config: { waitsForPicture: true } };

export function generateRoutes(app: FastifyInstance, orchestrator: Orchestrator): void {
  const run = (request: FastifyRequest, reply: FastifyReply): Promise<FastifyReply> =>
    answer(orchestrator, latentcastDialect, request, reply);
  const stream = (request: FastifyRequest, reply: FastifyReply): Promise<FastifyReply> =>
    answerStream(orchestrator, latentcastDialect, request, reply);
  app.post("/", COUNTED, run);
  app.post("/stream", COUNTED, stream);
  app.post("/:owner/:alias", COUNTED, run);
  app.post("/:owner/:alias/stream", COUNTED, stream);
}

/** Runs the request to its end and answers the result. */
async function answer(
  orchestrator: Orchestrator,
  dialect: Dialect,
  request: FastifyRequest,
  reply: FastifyReply,
): Promise<FastifyReply> {
  const { job, mailbox } = await begin(orchestrator, dialect, request, reply);
  for await (const event of mailbox) {
    if (!isTerminal(event)) continue;
    if (event.kind === "succeeded") return reply.send(dialect.result(event.result, job));
    throw endingError(event);
  }
  throw new LatentcastError("cancelled");
}

async function answerStream(
  orchestrator: Orchestrator,
  dialect: Dialect,
  request: FastifyRequest,
  reply: FastifyReply,
): Promise<FastifyReply> {
  const { job, mailbox } = await begin(orchestrator, dialect, request, reply);
  return sendEvents(reply, frames(job, mailbox, dialect));
}

/** Everything that can be refused is refused here, before a header has been sent. */
async function begin(
  orchestrator: Orchestrator,
  dialect: Dialect,
  request: FastifyRequest,
  reply: FastifyReply,
): Promise<{ job: Job; mailbox: Mailbox }> {
  const parsed = dialect.parse(request.body);
  if (!parsed.ok) throw invalidRequest(parsed.problems);
  const gone = new AbortController();
  // `request.signal` fires as soon as a POST body has been read; only the response knows when its client leaves.
  reply.raw.once("close", () => gone.abort());
  const job = await orchestrator.submit(parsed.input, {
    id: request.id,
    warnings: parsed.warnings,
    traceparent: traceparent(request),
    signal: gone.signal,
  });
  const mailbox = job.listen();
  if (gone.signal.aborted) mailbox.close();
  else gone.signal.addEventListener("abort", () => mailbox.close());
  return { job, mailbox };
}

async function* frames(job: Job, mailbox: Mailbox, dialect: Dialect): AsyncGenerator<string, void, undefined> {
  for await (const event of mailbox) {
    if (event.kind === "preview") yield dataFrame(dialect.preview(event, job));
    if (!isTerminal(event)) continue;
    if (event.kind === "succeeded") {
      yield dataFrame(dialect.result(event.result, job));
      return;
    }
    const error = endingError(event);
    yield dataFrame({ error: error.message, ...errorBody(error) });
    throw new StreamFailure(error.message, { cause: error });
  }
}

/** The error that a job which did not succeed ends with. */
export function endingError(event: Exclude<TerminalEvent, { kind: "succeeded" }>): LatentcastError {
  if (event.kind === "failed") return event.error;
  return new LatentcastError(event.reason === "shutdown" ? "draining" : "cancelled");
}

function traceparent(request: FastifyRequest): string | null {
  const header = request.headers["traceparent"];
  return typeof header === "string" ? header : null;
}
