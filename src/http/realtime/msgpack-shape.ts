/**
 * Looks a msgpack frame over before anything is made of it. A byte of a frame may become an object: 16 MB of nested maps of one byte each
 * would take a gigabyte. Texts and bytes are passed over, so an image costs nothing here.
 */

/** Names and values. An input has some thirty of them. */
const MAX_VALUES = 4_096;
const MAX_DEPTH = 32;
/** The only extension that clients send: a JavaScript `Date`. */
const TIMESTAMP = -1;

/** What follows the first byte of a value. */
type Shape =
  | { readonly kind: "scalar"; readonly bytes: number }
  /** A length of so many bytes, then as many bytes as it says. */
  | { readonly kind: "sized"; readonly lengthBytes: number }
  | { readonly kind: "extension"; readonly bytes: number }
  | { readonly kind: "sized extension"; readonly lengthBytes: number }
  | { readonly kind: "values"; readonly count: number }
  | { readonly kind: "sized values"; readonly lengthBytes: number; readonly each: number };

/** By first byte, 0xc0 to 0xdf; undefined is never used. */
const SHAPES: readonly (Shape | undefined)[] = [
  // nil, never used, false, true
  ...[scalar(0), undefined, scalar(0), scalar(0)],
  // bin 8 to 32, ext 8 to 32
  ...[1, 2, 4].map((lengthBytes): Shape => ({ kind: "sized", lengthBytes })),
  ...[1, 2, 4].map((lengthBytes): Shape => ({ kind: "sized extension", lengthBytes })),
  // float 32 and 64, uint 8 to 64, int 8 to 64
  ...[4, 8, 1, 2, 4, 8, 1, 2, 4, 8].map(scalar),
  // fixext 1 to 16
  ...[1, 2, 4, 8, 16].map((bytes): Shape => ({ kind: "extension", bytes })),
  // str 8 to 32
  ...[1, 2, 4].map((lengthBytes): Shape => ({ kind: "sized", lengthBytes })),
  // array 16 and 32, map 16 and 32
  ...[2, 4].map((lengthBytes): Shape => ({ kind: "sized values", lengthBytes, each: 1 })),
  ...[2, 4].map((lengthBytes): Shape => ({ kind: "sized values", lengthBytes, each: 2 })),
];

function scalar(bytes: number): Shape {
  return { kind: "scalar", bytes };
}

/** Undefined if the frame is one value of a reasonable shape; else what is wrong with it. */
export function msgpackProblem(frame: Buffer): string | undefined {
  /** Values still to come, for each map or array that is open. */
  const open = [1];
  let at = 0;
  let values = 0;
  while (open.length > 0) {
    const left = open.at(-1) ?? 0;
    if (left === 0) {
      open.pop();
      continue;
    }
    open[open.length - 1] = left - 1;
    values += 1;
    if (values > MAX_VALUES) return "it has too many values";
    const head = frame[at];
    if (head === undefined) return "it ends too early";
    const shape = shapeOf(head);
    if (shape === undefined) return "it is not msgpack";
    at += 1;
    const lengthBytes = "lengthBytes" in shape ? shape.lengthBytes : 0;
    if (at + lengthBytes > frame.byteLength) return "it ends too early";
    const length = lengthBytes === 0 ? 0 : frame.readUIntBE(at, lengthBytes);
    at += lengthBytes;
    switch (shape.kind) {
      case "scalar":
        at += shape.bytes;
        break;
      case "sized":
        at += length;
        break;
      case "extension":
      case "sized extension":
        if (at < frame.byteLength && frame.readInt8(at) !== TIMESTAMP) return "it has an extension type";
        at += 1 + (shape.kind === "extension" ? shape.bytes : length);
        break;
      case "values":
        open.push(shape.count);
        break;
      case "sized values":
        open.push(length * shape.each);
        break;
    }
    if (open.length > MAX_DEPTH) return "it is nested too deeply";
    if (at > frame.byteLength) return "it ends too early";
  }
  return at < frame.byteLength ? "it has bytes after its end" : undefined;
}

function shapeOf(head: number): Shape | undefined {
  // Small numbers from both ends of the range.
  if (head < 0x80 || head >= 0xe0) return scalar(0);
  if (head < 0x90) return { kind: "values", count: (head & 0x0f) * 2 };
  if (head < 0xa0) return { kind: "values", count: head & 0x0f };
  if (head < 0xc0) return scalar(head & 0x1f);
  return SHAPES[head - 0xc0];
}
