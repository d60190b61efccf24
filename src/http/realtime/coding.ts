/** Messages as frames of a socket: binary frames are msgpack, text frames are JSON, each answered in kind. The only user of msgpack. */
import { decode, encode } from "@msgpack/msgpack";
import { unreadable, type Message } from "../../dialects/realtime/input.ts";
import type { ImageForm, ImageMessage } from "../../dialects/realtime/messages.ts";
import { toLatentcastError } from "../../errors.ts";
import { toJsonBytes } from "../../schema/json.ts";
import { readJson } from "../json-body.ts";
import { msgpackProblem } from "./msgpack-shape.ts";

export type Coding = "msgpack" | "json";

export interface SocketFrame {
  readonly data: Buffer;
  readonly isBinary: boolean;
}

/** Throws `invalid_request` for everything that is not one map of fields, and what `readJson` throws. */
export function decodeFrame({ data, isBinary }: SocketFrame): Message {
  const value = isBinary ? decodeMsgpack(data) : readJson(data);
  // Neither a list nor bytes nor a Date.
  if (typeof value !== "object" || value === null || Object.getPrototypeOf(value) !== Object.prototype)
    throw unreadable("a message must be one map of fields");
  return { ...value };
}

/** JSON has no bytes: there an image is a data URI. */
export function imageForm(coding: Coding, wantsUrl: boolean): ImageForm {
  if (coding === "json") return "url";
  return wantsUrl ? "both" : "content";
}

export function encodeImages(message: ImageMessage, coding: Coding): SocketFrame {
  if (coding === "json") return { data: toJsonBytes(message), isBinary: false };
  const images = message.images.map(({ url, ...image }) =>
    url === undefined ? image : { ...image, url: url.toJSON() },
  );
  const { buffer, byteOffset, byteLength } = encode({ ...message, images });
  return { data: Buffer.from(buffer, byteOffset, byteLength), isBinary: true };
}

export function encodeControl(message: object): SocketFrame {
  return { data: Buffer.from(JSON.stringify(message)), isBinary: false };
}

function decodeMsgpack(data: Buffer): unknown {
  const problem = msgpackProblem(data);
  if (problem !== undefined) throw unreadable(`the message could not be read: ${problem}`);
  try {
    return decode(data);
  } catch (cause) {
    throw unreadable("the message could not be read: it is not msgpack", toLatentcastError(cause));
  }
}
