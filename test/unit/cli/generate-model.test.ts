import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { modelToDraw } from "../../../src/cli/generate-model.ts";

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "latentcast-models-"));
  await mkdir(join(folder, "demo"));
  await mkdir(join(folder, "oil"));
  await writeFile(join(folder, "oil", "model_index.json"), "{}");
  await writeFile(join(folder, "pony.safetensors"), "");
  await writeFile(join(folder, "notes.txt"), "");
});
afterAll(() => rm(folder, { recursive: true, force: true }));

describe("the model of latentcast generate", () => {
  it.each(["pony.safetensors", "oil"])("is found by its name in a configured folder of models: %s", async (name) => {
    expect(await modelToDraw(name, folder)).toBe(join(folder, name));
    expect(await modelToDraw(name, ["demo", folder])).toBe(join(folder, name));
  });

  it("is found by its name among configured files", async () => {
    expect(await modelToDraw("b.safetensors", ["/m/a.safetensors", "/m/b.safetensors"])).toBe("/m/b.safetensors");
  });

  it("is what is there by that path, before a configured one of that name", async () => {
    const file = join(folder, "pony.safetensors");
    expect(await modelToDraw(file, "/elsewhere")).toBe(file);
  });

  it.each(["auto", "demo", "noise"])("is the one that comes with the package where it is called %s", async (name) => {
    expect(await modelToDraw(name, [folder, `/m/${name}`])).toBe(name);
  });

  it.each(["owner/name", "notes.txt", "../pony.safetensors", "missing.safetensors"])(
    "is left to the worker where no configured one has its name: %s",
    async (name) => {
      expect(await modelToDraw(name, folder)).toBe(name);
    },
  );

  it("is one: only a server has requests that choose", async () => {
    await expect(modelToDraw(["a", "b"], "auto")).rejects.toThrow("generate draws with one model: --model was given 2");
  });
});
