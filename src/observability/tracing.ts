/**
 * Spans of requests and jobs, sent by OpenTelemetry where `OTEL_EXPORTER_OTLP_ENDPOINT` says. Without it nothing of this is loaded.
 * A request's span becomes the `traceparent` that its job carries to the worker, so that the worker's spans hang below it.
 */
import type { Attributes, Context, Span, SpanStatusCode, Tracer } from "@opentelemetry/api";
import type { TerminalEvent } from "../jobs/events.ts";
import type { Job } from "../jobs/job.ts";
import type { JobObserver } from "../jobs/observer.ts";
import { formatTraceparent, parseTraceparent } from "./trace-context.ts";

export interface Tracing {
  /** Begins the span of a request that may make a job. */
  request(given: RequestFacts): RequestSpan;
  readonly observer: JobObserver;
  /** Sends what has not been sent yet. */
  close(): Promise<void>;
}

export interface RequestFacts {
  readonly id: string;
  readonly method: string;
  /** The pattern, without anything that a client chose. */
  readonly route: string;
  /** What it belongs to at its sender. */
  readonly traceparent: string | null;
}

export interface RequestSpan {
  /** For everything that happens because of the request. */
  readonly traceparent: string;
  end(status: number): void;
}

export interface TracingOptions {
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly version: string;
}

/** Undefined where no collector is named. */
export async function startTracing({ env, version }: TracingOptions): Promise<Tracing | undefined> {
  const endpoint = tracesEndpoint(env);
  if (endpoint === undefined || env["OTEL_SDK_DISABLED"] === "true") return undefined;
  const [{ BatchSpanProcessor, NodeTracerProvider }, { OTLPTraceExporter }, { resourceFromAttributes }, api] =
    await Promise.all([
      import("@opentelemetry/sdk-trace-node"),
      import("@opentelemetry/exporter-trace-otlp-http"),
      import("@opentelemetry/resources"),
      import("@opentelemetry/api"),
    ]);
  const provider = new NodeTracerProvider({
    resource: resourceFromAttributes({
      "service.name": env["OTEL_SERVICE_NAME"] || "latentcast",
      "service.version": version,
    }),
    // The exporter reads the other OTEL_EXPORTER_OTLP_* variables from this process: headers, timeout, compression.
    spanProcessors: [new BatchSpanProcessor(new OTLPTraceExporter({ url: endpoint }))],
  });
  const tracer = provider.getTracer("latentcast", version);
  const below = (traceparent: string | null): Context => {
    const parent = traceparent === null ? undefined : parseTraceparent(traceparent);
    return parent === undefined ? api.ROOT_CONTEXT : api.trace.setSpanContext(api.ROOT_CONTEXT, parent);
  };
  return {
    request: ({ id, method, route, traceparent }) => {
      const attributes = { "http.request.method": method, "http.route": route, "latentcast.request.id": id };
      const options = { kind: api.SpanKind.SERVER, attributes };
      const span = tracer.startSpan(`${method} ${route}`, options, below(traceparent));
      return {
        traceparent: formatTraceparent(span.spanContext()),
        end: (status) => span.setAttribute("http.response.status_code", status).end(),
      };
    },
    observer: new JobSpans(tracer, below, api.SpanStatusCode.ERROR),
    // A collector that is gone must not keep the server from ending.
    close: () => provider.shutdown().catch(() => undefined),
  };
}

/** Where spans go, by OpenTelemetry's rule: the address for traces as it is, or the common one with `/v1/traces` appended. */
function tracesEndpoint(env: TracingOptions["env"]): string | undefined {
  const common = env["OTEL_EXPORTER_OTLP_ENDPOINT"];
  return env["OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"] || (common ? `${common.replace(/\/$/, "")}/v1/traces` : undefined);
}

class JobSpans implements JobObserver {
  readonly #tracer: Tracer;
  readonly #below: (traceparent: string | null) => Context;
  readonly #errorStatus: SpanStatusCode;
  readonly #spans = new WeakMap<Job, Span>();

  constructor(tracer: Tracer, below: (traceparent: string | null) => Context, errorStatus: SpanStatusCode) {
    this.#tracer = tracer;
    this.#below = below;
    this.#errorStatus = errorStatus;
  }

  accepted(job: Job): void {
    const parent = this.#below(job.submission.traceparent ?? null);
    const attributes = { "latentcast.job.id": job.id, ...sizesOf(job) };
    this.#spans.set(job, this.#tracer.startSpan("job", { attributes }, parent));
  }

  resolved(job: Job): void {
    this.#spans.get(job)?.setAttributes(sizesOf(job));
  }

  ticketed(job: Job): void {
    this.#spans.get(job)?.addEvent("ticketed");
  }

  claimed(job: Job, node: string): void {
    this.#spans.get(job)?.addEvent("claimed", { "latentcast.node": node });
  }

  started(job: Job): void {
    this.#spans.get(job)?.addEvent("started");
  }

  finished(job: Job, event: TerminalEvent): void {
    const span = this.#spans.get(job);
    span?.setAttributes({ "latentcast.outcome": event.kind, "latentcast.worker_deaths": job.deaths });
    // The catalogue's code and nothing more: texts may quote what the client sent.
    if (event.kind === "failed") span?.setStatus({ code: this.#errorStatus, message: event.error.code });
    span?.end();
  }
}

/** Unknown until a model is loaded. */
function sizesOf({ request }: Job): Attributes {
  if (request === undefined) return {};
  const { params } = request;
  return {
    "latentcast.steps": params.num_inference_steps,
    "latentcast.width": params.width,
    "latentcast.height": params.height,
    "latentcast.images": params.num_images,
  };
}
