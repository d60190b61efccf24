/** A `fetch` whose answers are written down beforehand, and which remembers what it was asked. */
import type { Fetch } from "../../src/client/index.ts";

export interface Asked {
  readonly method: string;
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: unknown;
}

export type Answer = (asked: Asked, signal: AbortSignal | undefined) => Response | Promise<Response>;

export interface ScriptedServer {
  readonly asked: Asked[];
  readonly fetch: Fetch;
}

/** Answers by `METHOD path`: a list is used up one by one, its last answer stays. */
export function scriptedServer(script: Readonly<Record<string, Answer | readonly Answer[]>>): ScriptedServer {
  const asked: Asked[] = [];
  const used = new Map<string, number>();
  return {
    asked,
    fetch: async (url, init) => {
      const { pathname, search } = new URL(url);
      const key = `${init.method} ${pathname}`;
      const call: Asked = {
        method: init.method ?? "GET",
        path: pathname + search,
        headers: init.headers as Record<string, string>,
        body: typeof init.body === "string" ? JSON.parse(init.body) : undefined,
      };
      asked.push(call);
      const answers = [script[key] ?? []].flat();
      const count = used.get(key) ?? 0;
      used.set(key, count + 1);
      const answer = answers[Math.min(count, answers.length - 1)];
      if (answer === undefined) throw new TypeError(`nothing answers ${key}`);
      return answer(call, init.signal ?? undefined);
    },
  };
}

export function json(body: unknown, status = 200, headers: Readonly<Record<string, string>> = {}): Answer {
  return () => Response.json(body, { status, headers });
}

export function refused(code: string, status: number, headers: Readonly<Record<string, string>> = {}): Answer {
  return json({ detail: code, message: `it is ${code}`, error_type: code }, status, headers);
}

export const unreachable: Answer = () => {
  throw new TypeError("fetch failed");
};

export interface Frame {
  readonly id?: string;
  readonly event: string;
  readonly data: unknown;
}

/** A stream of events that then ends, breaks off, or stays open and silent. */
export function events(frames: readonly Frame[], then: "end" | "break" | "stay" = "end"): Answer {
  return (_asked, signal) => {
    const text = frames.map(
      ({ id, event, data }) =>
        `${id === undefined ? "" : `id: ${id}\n`}event: ${event}\ndata: ${JSON.stringify(data)}\n\n`,
    );
    const body = new ReadableStream<Uint8Array>({
      start: (controller) => {
        signal?.addEventListener("abort", () => controller.error(signal.reason));
        controller.enqueue(new TextEncoder().encode(`: welcome\n\n${text.join("")}`));
        if (then === "end") controller.close();
      },
      pull: (controller) => {
        if (then === "break") controller.error(new TypeError("terminated"));
      },
    });
    return new Response(body, { headers: { "content-type": "text/event-stream; charset=utf-8" } });
  };
}

const picture = { url: "data:image/jpeg;base64,AA==", content_type: "image/jpeg", width: 64, height: 64 };

export function previewFrame(step: number, id = `a.${step}`): Frame {
  return {
    id,
    event: "preview",
    data: { image: picture, seed: 1, preview: { step, total_steps: 20, progress: (step + 1) / 20 } },
  };
}

export const resultFrame: Frame = {
  id: "end",
  event: "result",
  data: {
    image: picture,
    seed: 1,
    prompt: "x",
    timings: { queue: 0.5, inference: 2.25, first_preview: null },
    warnings: ["careful"],
  },
};
