import { encode } from "@msgpack/msgpack";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { decodeFrame } from "../../../../src/http/realtime/coding.ts";
import { msgpackProblem } from "../../../../src/http/realtime/msgpack-shape.ts";
import { LatentcastError } from "../../../../src/errors.ts";

const frame = (...bytes: number[]): Buffer => Buffer.from(bytes);

describe("msgpackProblem", () => {
  it("passes whatever a client's encoder makes of a message", () => {
    const value = fc.anything({
      maxDepth: 4,
      values: [
        fc.string(),
        fc.double(),
        fc.integer(),
        fc.boolean(),
        fc.constant(null),
        fc.uint8Array({ maxLength: 300 }),
      ],
    });
    fc.assert(
      fc.property(fc.dictionary(fc.string(), value), (message) => {
        expect(msgpackProblem(Buffer.from(encode(message)))).toBeUndefined();
      }),
    );
  });

  it("passes texts and bytes of every length, and a Date", () => {
    for (const length of [0, 31, 32, 255, 256, 65_535, 65_536]) {
      const message = { text: "x".repeat(length), bytes: new Uint8Array(length), at: new Date(0) };
      expect(msgpackProblem(Buffer.from(encode(message)))).toBeUndefined();
    }
  });

  it.each<[string, Buffer, string]>([
    ["nothing", frame(), "it ends too early"],
    ["a byte that is never used", frame(0xc1), "it is not msgpack"],
    ["a text that is cut off", Buffer.from(encode({ prompt: "sunset" })).subarray(0, -1), "it ends too early"],
    ["a length that is cut off", frame(0xdb, 0xff, 0xff), "it ends too early"],
    ["two maps", Buffer.concat([encode({ a: 1 }), encode({ b: 2 })]), "it has bytes after its end"],
    ["an extension of type 5", frame(0x81, 0xa1, 0x61, 0xd4, 5, 0), "it has an extension type"],
    ["arrays in arrays", Buffer.alloc(2 ** 20, 0x91), "it is nested too deeply"],
    [
      "a map of a million maps",
      Buffer.concat([frame(0xdd, 0, 0x10, 0, 0), Buffer.alloc(2 ** 20, 0x80)]),
      "it has too many values",
    ],
    ["a map that claims four billion values", frame(0xdf, 0xff, 0xff, 0xff, 0xff), "it ends too early"],
  ])("says what is wrong with %s", (_name, bytes, problem) => {
    expect(msgpackProblem(bytes)).toBe(problem);
  });
});

describe("decodeFrame", () => {
  it("gives fields, or throws an error of the client's, for whatever bytes", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), fc.boolean(), (bytes, isBinary) => {
        try {
          expect(decodeFrame({ data: Buffer.from(bytes), isBinary })).toBeTypeOf("object");
        } catch (error) {
          expect(error).toBeInstanceOf(LatentcastError);
          expect((error as LatentcastError).blame).toBe("client");
        }
      }),
      { numRuns: 2_000 },
    );
  });

  it.each([1, "text", null, [{ prompt: "x" }], new Uint8Array(3), new Date(0)])(
    "refuses %j, which is no map of fields",
    (value) => {
      const data = Buffer.from(encode(value));
      expect(() => decodeFrame({ data, isBinary: true })).toThrow(LatentcastError);
    },
  );
});
