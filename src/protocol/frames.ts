/** Multipart frames to messages and back. Bytes in, typed message out; knows no socket. */
import { z } from "zod";
import { commandMessage, reportMessage, type Command, type Report } from "./messages.ts";

/** The longest JSON header that is read. The largest real one is a `generate` with two 5,000-character prompts, all escaped. */
const MAX_HEADER_BYTES = 1 << 20;

/** A report with its payload: JPEGs for `preview`, RGB8 buffers for `result`. */
export interface ReportFrames {
  readonly report: Report;
  readonly payload: readonly Buffer[];
}

/** The other side broke the protocol. `cause` holds the parser's own words. */
export class ProtocolError extends Error {
  override readonly name = "ProtocolError";
}

export function encodeCommand(command: Command): Buffer {
  return Buffer.from(JSON.stringify(command), "utf8");
}

/** Reads what a worker sent, without the routing identity. Throws {@link ProtocolError} for anything that is not a whole message. */
export function decodeReport(frames: readonly Buffer[]): ReportFrames {
  const [header, ...payload] = frames;
  if (header === undefined) throw new ProtocolError("empty message");
  const report = parseHeader(header, reportMessage);
  expectPayload(report, payload);
  return { report, payload };
}

/** The worker's half of the codec, for workers written in TypeScript (test fixtures) and for golden tests. */
export function decodeCommand(header: Buffer): Command {
  return parseHeader(header, commandMessage);
}

function parseHeader<Schema extends z.ZodType>(header: Buffer, schema: Schema): z.infer<Schema> {
  if (header.byteLength > MAX_HEADER_BYTES) throw new ProtocolError(`header of ${header.byteLength} bytes`);
  let json: unknown;
  try {
    json = JSON.parse(header.toString("utf8"));
  } catch (cause) {
    throw new ProtocolError("header is not JSON", { cause });
  }
  const parsed = schema.safeParse(json);
  if (!parsed.success) throw new ProtocolError(z.prettifyError(parsed.error), { cause: parsed.error });
  return parsed.data;
}

function expectPayload(report: Report, payload: readonly Buffer[]): void {
  const images = report.type === "preview" || report.type === "result" ? report.images : [];
  if (payload.length !== images.length) {
    throw new ProtocolError(`${report.type} announces ${images.length} payload frames and carries ${payload.length}`);
  }
  if (report.type !== "result") return;
  for (const [index, image] of report.images.entries()) {
    const bytes = image.width * image.height * 3;
    if (payload[index]?.byteLength !== bytes) throw new ProtocolError(`image ${index} is not ${bytes} bytes of RGB8`);
  }
}
