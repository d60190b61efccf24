/** A client that only keeps times: it costs next to nothing beside the server that it measures. */
import { Agent, request } from "node:http";
import { monotonicSeconds } from "./servers.ts";

export interface StreamTimes {
  /** Seconds on the monotonic clock. */
  readonly posted: number;
  /** When the last byte of the first preview was there; undefined without one. */
  readonly firstPreview: number | undefined;
  readonly ended: number;
  readonly previews: number;
  readonly isComplete: boolean;
  /** Of the body, up to the first preview, that included, and altogether. */
  readonly firstPreviewBytes: number | undefined;
  readonly bytes: number;
}

export interface StreamOptions {
  readonly path?: string;
  /** Leaves after this many previews. */
  readonly leaveAfterPreviews?: number;
  readonly timeoutMs?: number;
}

const LINE_END = 0x0a;
const agent = new Agent({ keepAlive: true, maxSockets: 256 });

/** Posts `body` and reads the events to the end. Rejects when nothing comes for `timeoutMs`. */
export function stream(
  url: string,
  body: object,
  { path = "/stream", leaveAfterPreviews, timeoutMs = 60_000 }: StreamOptions = {},
): Promise<StreamTimes> {
  const text = JSON.stringify(body);
  const posted = monotonicSeconds();
  let firstPreview: number | undefined;
  let previews = 0;
  let isComplete = false;
  let firstPreviewBytes: number | undefined;
  let bytes = 0;
  return new Promise((resolve, reject) => {
    const finish = (): void =>
      resolve({ posted, firstPreview, ended: monotonicSeconds(), previews, isComplete, firstPreviewBytes, bytes });
    const outgoing = request(
      new URL(path, url),
      {
        agent,
        method: "POST",
        headers: { "content-type": "application/json", "content-length": Buffer.byteLength(text) },
      },
      (response) => {
        if (response.statusCode !== 200) {
          outgoing.destroy(new Error(`${path} answered ${String(response.statusCode)}`));
          return;
        }
        let chunks: Buffer[] = [];
        response.on("data", (chunk: Buffer) => {
          const arrived = monotonicSeconds();
          bytes += chunk.byteLength;
          const isSeam = chunks.at(-1)?.at(-1) === LINE_END && chunk[0] === LINE_END;
          chunks.push(chunk);
          // An image comes in many chunks; joined and searched at each of them, it would cost the client a millisecond.
          if (!isSeam && !chunk.includes("\n\n")) return;
          const frames = Buffer.concat(chunks).toString("latin1").split("\n\n");
          chunks = [Buffer.from(frames.pop() ?? "", "latin1")];
          for (const event of frames.map(withoutComments)) {
            if (!/^(event: .*\n)?data: /.test(event)) continue;
            // Only our result has timings, and OpenAI's a name; what the plain server sends has neither, and counts as previews but for its last.
            if (event.includes('"timings":') || /^event: \w+\.completed/.test(event)) {
              isComplete = true;
              continue;
            }
            previews += 1;
            firstPreview ??= arrived;
            firstPreviewBytes ??= bytes;
            if (previews === leaveAfterPreviews) {
              outgoing.destroy();
              finish();
            }
          }
        });
        response.on("end", finish);
        response.on("error", reject);
      },
    );
    outgoing.setTimeout(timeoutMs, () => outgoing.destroy(new Error(`silent for ${timeoutMs} ms`)));
    outgoing.on("error", reject);
    outgoing.end(text);
  });
}

/** A comment is one line, which may stand right before an event. */
function withoutComments(lines: string): string {
  let rest = lines;
  while (rest.startsWith(":")) rest = rest.slice(rest.indexOf("\n") + 1 || rest.length);
  return rest;
}
