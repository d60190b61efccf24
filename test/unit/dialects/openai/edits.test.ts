import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { MultipartForm, type FormPart } from "../../../../src/dialects/form.ts";
import { openaiDialect } from "../../../../src/dialects/openai/dialect.ts";
import { modelInfo } from "../../../support/builders.ts";

const PNG = Buffer.from("an image");
const MASK = Buffer.from("a mask");

function route(path: string) {
  const found = openaiDialect.routes.find((each) => each.path === path);
  if (found?.read === undefined) throw new Error(`${path} reads nothing of its own`);
  return { ...found, read: found.read };
}
const edits = route("/v1/images/edits");
const variations = route("/v1/images/variations");

type Fields = Readonly<Record<string, unknown>>;

const form = (fields: Fields, ...files: FormPart[]): MultipartForm =>
  new MultipartForm([...files, ...Object.entries(fields).map(([name, value]) => ({ name, value }))]);
const image: FormPart = { name: "image", value: PNG };
const mask: FormPart = { name: "mask", value: MASK };

function read({ read: reader }: typeof edits, body: unknown) {
  const given = reader({ path: "", body });
  if (!given.ok) throw new Error(JSON.stringify(given.problems));
  return given;
}
const edited = (fields: Fields, ...files: FormPart[]) =>
  read(edits, form({ prompt: "x", ...fields }, ...(files.length === 0 ? [image] : files)));
const problemsOf = ({ read: reader }: typeof edits, body: unknown): string[] => {
  const given = reader({ path: "", body });
  return given.ok ? [] : given.problems.map(({ loc }) => loc.slice(1).join("."));
};
const strengthOf = (given: ReturnType<typeof read>, model = modelInfo()): unknown =>
  given.exchange.fit(given.input, model).input.strength;

describe("an edit", () => {
  it("starts from the first image, however it is called, and says what became of the others", () => {
    const second = Buffer.from("another");
    const given = edited({}, { name: "image[]", value: PNG }, { name: "image[]", value: second });
    expect(given.inputs).toMatchObject({ image: PNG, mask: null });
    expect(given.warnings).toEqual(["only the first of 2 images was used"]);
    expect(edited({}).warnings).toEqual([]);
  });

  it("has a mask whose transparent part is drawn anew", () => {
    expect(edited({}, image, mask).inputs).toMatchObject({
      image: PNG,
      mask: MASK,
      conventions: { maskMark: "transparent" },
    });
  });

  it("says the same as a form and as JSON", () => {
    const fields = { prompt: "x", seed: 3, n: 2, size: "64x128", strength: 0.5, steps: 4 };
    const asText = Object.fromEntries(Object.entries(fields).map(([name, value]) => [name, String(value)]));
    const json = { ...fields, images: [{ image_url: "/files/a.png" }], mask: { image_url: "/files/b.png" } };
    const given = read(edits, json);
    expect(given.inputs).toMatchObject({ image: "/files/a.png", mask: "/files/b.png" });
    expect(given.input).toEqual(edited(asText, image, mask).input);
  });

  it("takes every optional field as null in JSON", () => {
    const names = ["model", "n", "size", "quality", "response_format", "output_format", "output_compression", "seed"];
    const more = ["background", "stream", "partial_images", "user", "mask", "input_fidelity", "strength", "steps"];
    const nulls = Object.fromEntries([...names, ...more].map((name) => [name, null]));
    const json = { prompt: "x", images: [{ image_url: "/files/a.png", file_id: null }] };
    expect(read(edits, { ...json, ...nulls }).input).toEqual(read(edits, json).input);
  });

  it.each([
    [{}, [image], 0.8],
    [{ input_fidelity: "low" }, [image], 0.8],
    [{ input_fidelity: "high" }, [image], 0.6],
    [{ input_fidelity: "high" }, [image, mask], 0.95],
    [{ input_fidelity: "high", strength: "0.3" }, [image], 0.3],
    [{ strength: "0" }, [image], 0],
  ])("with %j draws so much anew", (fields, files, strength) => {
    expect(strengthOf(edited(fields, ...files))).toBe(strength);
  });

  it("runs a step also on a model that has few, unless it says how much itself", () => {
    const fast = modelInfo({ default_steps: 1 });
    expect(strengthOf(edited({}), fast)).toBe(1);
    expect(strengthOf(edited({ strength: "0.5" }), fast)).toBe(0.5);
  });

  it("has its partial images among the steps that run", () => {
    const given = edited({ stream: "true", partial_images: "3", steps: "20", strength: "0.3" });
    expect(given.exchange.fit(given.input, modelInfo()).input.preview).toMatchObject({ every: 2 });
  });

  it.each<[string, unknown, string[]]>([
    ["nothing", undefined, ["images", "prompt"]],
    ["an empty form", form({}), ["image", "prompt"]],
    ["a form whose image is text", form({ prompt: "x", image: "data:,x" }), ["image"]],
    ["seventeen images", form({ prompt: "x" }, ...Array.from({ length: 17 }, () => image)), ["image"]],
    ["two masks", form({ prompt: "x" }, image, mask, mask), ["mask"]],
    [
      "two prompts",
      new MultipartForm([image, { name: "prompt", value: "x" }, { name: "prompt", value: "y" }]),
      ["prompt"],
    ],
    ["a prompt that is a file", form({ prompt: PNG }, image), ["prompt"]],
    ["a number that is none", form({ prompt: "x", n: "two" }, image), ["n"]],
    ["no images in JSON", { prompt: "x", images: [] }, ["images"]],
    ["a text as image in JSON", { prompt: "x", images: ["data:,x"] }, ["images.0"]],
    [
      "a file of OpenAI's",
      { prompt: "x", images: [{ file_id: "file-1" }] },
      ["images.0.file_id", "images.0.image_url"],
    ],
    [
      "a file of OpenAI's beside an address",
      { prompt: "x", images: [{ image_url: "/files/a" }], mask: { file_id: "f", image_url: "/files/a" } },
      ["mask.file_id"],
    ],
    ["a strength above 1", form({ prompt: "x", strength: "1.5" }, image), ["strength"]],
    ["an unknown fidelity", form({ prompt: "x", input_fidelity: "medium" }, image), ["input_fidelity"]],
  ])("is refused for %s", (_name, body, problems) => {
    expect(problemsOf(edits, body)).toEqual(problems);
  });

  it.each([
    ["true", "events"],
    ["True", "events"],
    ["1", "events"],
    ["false", "result"],
    ["0", "result"],
  ])("is answered for stream %j, after its files, by %s", (stream, responseKind) => {
    expect(edits.responseKind({ path: "", body: form({ prompt: "x", stream }, image) })).toBe(responseKind);
  });
});

describe("whatever is sent", () => {
  const name = fc.constantFrom("image", "image[]", "mask", "images", "prompt", "n", "size", "stream", "strength", "x");
  const text = fc.oneof(fc.string(), fc.constantFrom("1", "true", "64x64", "auto", "null"));
  const value = fc.oneof(text, fc.constantFrom(PNG, MASK));
  const forms = fc.array(fc.record({ name, value }), { maxLength: 24 }).map((parts) => new MultipartForm(parts));
  const bodies = fc.oneof(forms, fc.dictionary(name, fc.jsonValue()), fc.jsonValue());

  it("is read or refused by the fields that are wrong", () => {
    fc.assert(
      fc.property(bodies, fc.constantFrom(edits, variations), (body, { read: reader, responseKind }) => {
        const given = reader({ path: "", body });
        expect(["result", "events"]).toContain(responseKind({ path: "", body }));
        if (given.ok) expect(given.inputs).toBeDefined();
        else expect(given.problems.length).toBeGreaterThan(0);
      }),
      { numRuns: 1_000 },
    );
  });
});

describe("a variation", () => {
  it("needs an image and no words", () => {
    const given = read(variations, form({ n: "2", size: "64x64" }, image));
    expect(given.input).toMatchObject({ prompt: "", num_images: 2, width: 64, preview: false });
    expect(given.inputs).toMatchObject({ image: PNG, mask: null });
    expect(strengthOf(given)).toBe(0.6);
    expect(strengthOf(read(variations, form({ strength: "0.2" }, image)))).toBe(0.2);
  });

  it("is never a stream, and says so", () => {
    const body = form({ stream: "true" }, image);
    expect(variations.responseKind({ path: "", body })).toBe("result");
    expect(read(variations, body).warnings).toEqual(['unknown field "stream" was ignored']);
  });

  it.each<[string, unknown]>([
    ["JSON", { image: "data:,x" }],
    ["no image", form({})],
    ["two images", form({}, image, image)],
  ])("is refused for %s", (_name, body) => {
    expect(problemsOf(variations, body)).toEqual(["image"]);
  });

  it("is refused for a wrong field too", () => {
    expect(problemsOf(variations, form({ n: "11" }))).toEqual(["image", "n"]);
  });
});
