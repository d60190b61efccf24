import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { readGenerateRequest } from "../../../src/cli/generate-input.ts";

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "latentcast-images-"));
  await writeFile(join(folder, "a.png"), "an image");
});
afterAll(() => rm(folder, { recursive: true, force: true }));

type Read = typeof readGenerateRequest;

function read(values: Record<string, string>): ReturnType<Read> {
  const args = {
    positionals: ["x"],
    values: { output: join(folder, "out.png"), ...values },
    switches: new Set<string>(),
  };
  return readGenerateRequest(args, { isInteractive: false } as Parameters<Read>[1]);
}

it("files to start from are sent as data URIs, with the strength beside them", async () => {
  const image = join(folder, "a.png");
  const { input } = await read({ image, mask: image, strength: "0.6" });
  const uri = `data:application/octet-stream;base64,${Buffer.from("an image").toString("base64")}`;
  expect(input).toMatchObject({ image_url: uri, mask_url: uri, strength: 0.6 });
});

it("LoRAs are named with their scales, 1 where there is none", async () => {
  const { input } = await read({ lora: "ink:0.8, styles/oil,detail:-1" });
  expect(input.loras).toEqual([
    { path: "ink", scale: 0.8 },
    { path: "styles/oil", scale: 1 },
    { path: "detail", scale: -1 },
  ]);
});

it.each([
  ["a mask alone", { mask: "a.png" }, "--mask needs --image"],
  ["a file that is not there", { image: "/nowhere/a.png" }, "--image: /nowhere/a.png cannot be read"],
  ["a strength above 1", { strength: "2" }, "--strength"],
  ["a LoRA without a name", { lora: "ink,:1" }, '--lora: ":1" is not NAME:SCALE'],
  ["a LoRA with too much behind it", { lora: "ink:1:2" }, "--lora"],
  ["a LoRA's scale that is not a number", { lora: "ink:much" }, '--lora: "much" is not a number'],
  ["a LoRA that is too strong", { lora: "ink:11" }, "--lora"],
])("%s is refused by its flag", async (_, values, message) => {
  await expect(read(values)).rejects.toThrow(message);
});
