import { expect, it } from "vitest";
import { withAddresses } from "../../../src/client/image-files.ts";

const bytes = Uint8Array.from({ length: 70_000 }, (_, index) => index % 256);
const uri = (type: string): string => `data:${type};base64,${Buffer.from(bytes).toString("base64")}`;

it.each([
  ["a Blob", new Blob([bytes], { type: "image/png" }), "image/png"],
  ["a File", new File([bytes], "a.webp", { type: "image/webp" }), "image/webp"],
  ["a Blob without a type", new Blob([bytes]), "application/octet-stream"],
  ["bytes", bytes, "application/octet-stream"],
  ["a view into a larger buffer", Buffer.concat([Buffer.alloc(3), bytes]).subarray(3), "application/octet-stream"],
  ["an ArrayBuffer", bytes.slice().buffer, "application/octet-stream"],
])("%s becomes a data URI", async (_, file, type) => {
  expect(await withAddresses({ prompt: "x", image_url: "/files/a.png", mask_url: file })).toEqual({
    prompt: "x",
    image_url: "/files/a.png",
    mask_url: uri(type),
  });
});

it("addresses are sent unchanged, without waiting", () => {
  expect(withAddresses({ prompt: "x", image_url: "data:,a", mask_url: null })).toEqual({
    prompt: "x",
    image_url: "data:,a",
    mask_url: null,
  });
  expect(JSON.stringify(withAddresses({ prompt: "x" }))).toBe('{"prompt":"x"}');
});
