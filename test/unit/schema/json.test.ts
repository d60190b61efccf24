import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { Base64 } from "../../../src/schema/base64.ts";
import { toAsciiJsonBytes, toJsonBytes } from "../../../src/schema/json.ts";

/** Any code point, halves of pairs among them. `binary` is the same, and takes most of a second to list them. */
const anyCharacter = fc.nat(0x10ffff).map((point) => String.fromCodePoint(point));
const leaf = fc.oneof(
  fc.string({ unit: anyCharacter }),
  fc.double({ noNaN: true }),
  fc.boolean(),
  fc.constant(null),
  fc.constant(undefined),
  fc.uint8Array({ maxLength: 40 }).map((bytes) => new Base64(Buffer.from(bytes), "data:image/png;base64,")),
  fc.uint8Array({ maxLength: 40 }).map((bytes) => new Base64(Buffer.from(bytes))),
);
const { tree } = fc.letrec<{ tree: object; node: unknown }>((tie) => ({
  node: fc.oneof({ maxDepth: 3 }, leaf, tie("tree")),
  tree: fc.oneof(fc.array(tie("node"), { maxLength: 4 }), fc.dictionary(fc.string(), tie("node"), { maxKeys: 4 })),
}));

describe("JSON as bytes", () => {
  it("is what JSON.stringify writes, in UTF-8", () => {
    fc.assert(
      fc.property(tree, (value) => {
        expect(toJsonBytes(value).toString()).toBe(JSON.stringify(value));
      }),
    );
  });

  it.each([24_575, 24_576, 24_577, 100_000])("is the same for %i bytes", (size) => {
    const bytes = Buffer.from(Array.from({ length: size }, (_, index) => (index * 7) % 251));
    const value = { image: new Base64(bytes, "data:image/jpeg;base64,") };
    expect(toJsonBytes(value).toString()).toBe(JSON.stringify(value));
  });

  it("has the same meaning in ASCII, between a prefix and a suffix", () => {
    fc.assert(
      fc.property(tree, (value) => {
        const text = toAsciiJsonBytes(value, "data: ", "\n\n").toString("latin1");
        expect(text).toMatch(/^data: [\x20-\x7f]*\n\n$/);
        expect(JSON.parse(text.slice("data: ".length))).toEqual(JSON.parse(JSON.stringify(value)));
      }),
    );
  });
});
