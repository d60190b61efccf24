/** Multipart frames to messages and back, in both directions. Bytes in, typed message out; knows no socket. */
import { z } from "zod";
import { commandMessage, MAX_HEADER_BYTES, reportMessage, type Command, type Report } from "./messages.ts";

/** A report with its payload: JPEGs for `preview`, RGB8 buffers for `result`. */
export interface ReportFrames {
  readonly report: Report;
  readonly payload: readonly Buffer[];
}

/** A command with its payload: the input images of a `generate`. */
export interface CommandFrames {
  readonly command: Command;
  readonly payload: readonly Buffer[];
}

/** The other side broke the protocol. `cause` holds the parser's own words. */
export class ProtocolError extends Error {
  override readonly name = "ProtocolError";
}

/** The frames of a command. Throws {@link ProtocolError} for payload that does not fit its header. */
export function encodeCommand(command: Command, payload: readonly Buffer[] = []): Buffer[] {
  checkPayload(command.type, commandFrames(command), payload);
  return [Buffer.from(JSON.stringify(command), "utf8"), ...payload];
}

/** Reads what a worker sent, without the routing identity. Throws {@link ProtocolError} for anything that is not a whole message. */
export function decodeReport(frames: readonly Buffer[]): ReportFrames {
  const { header, payload } = split(frames);
  const report = parseHeader(header, reportMessage);
  checkPayload(report.type, reportFrames(report), payload);
  return { report, payload };
}

/** The worker's half of the codec, for golden tests. */
export function decodeCommand(frames: readonly Buffer[]): CommandFrames {
  const { header, payload } = split(frames);
  const command = parseHeader(header, commandMessage);
  checkPayload(command.type, commandFrames(command), payload);
  return { command, payload };
}

function split([header, ...payload]: readonly Buffer[]): { readonly header: Buffer; readonly payload: Buffer[] } {
  if (header === undefined) throw new ProtocolError("empty message");
  return { header, payload };
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

/** What a header announces: the name of each payload frame, and its size where the header determines it. */
interface Announced {
  readonly name: string;
  readonly bytes: number | null;
}

function commandFrames(command: Command): Announced[] {
  if (command.type !== "generate") return [];
  const { image, mask } = command.inputs;
  return [
    ...(image === null ? [] : [{ name: "inputs.image", bytes: image.width * image.height * 3 }]),
    ...(mask === null ? [] : [{ name: "inputs.mask", bytes: mask.width * mask.height }]),
  ];
}

function reportFrames(report: Report): Announced[] {
  if (report.type === "preview") return report.images.map((_, index) => ({ name: `image ${index}`, bytes: null }));
  if (report.type !== "result") return [];
  return report.images.map(({ width, height }, index) => ({ name: `image ${index}`, bytes: width * height * 3 }));
}

function checkPayload(type: string, announced: readonly Announced[], payload: readonly Buffer[]): void {
  if (payload.length !== announced.length) {
    throw new ProtocolError(`${type} announces ${announced.length} payload frames and carries ${payload.length}`);
  }
  for (const [index, { name, bytes }] of announced.entries()) {
    const size = payload[index]?.byteLength;
    if (bytes !== null && size !== bytes) throw new ProtocolError(`${name} has ${size} bytes, expected ${bytes}`);
  }
}
