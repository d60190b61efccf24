import fc from "fast-check";
import Fastify, { type FastifyInstance } from "fastify";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { MultipartForm } from "../../../../src/dialects/form.ts";
import { handleError } from "../../../../src/http/error-body.ts";
import { acceptJson } from "../../../../src/http/plugins/bodies.ts";
import { acceptForms } from "../../../../src/http/plugins/forms.ts";
import { FORM_TYPE, formBytes, type Part } from "../../../support/forms.ts";

const LIMIT = 200_000;

let app: FastifyInstance;
/** What the route found. */
let found: unknown;
beforeAll(async () => {
  app = Fastify({ bodyLimit: LIMIT });
  app.setErrorHandler(handleError);
  acceptJson(app);
  await app.register(async (scope) => {
    await acceptForms(scope);
    scope.post("/v1/form", async ({ body }) => {
      found = body;
      return {};
    });
  });
  app.post("/v1/plain", async () => ({}));
});
afterAll(() => app.close());

async function send(payload: Buffer | string, type = FORM_TYPE, url = "/v1/form") {
  found = undefined;
  const { statusCode, body } = await app.inject({ method: "POST", url, payload, headers: { "content-type": type } });
  return { status: statusCode, code: statusCode === 200 ? undefined : JSON.parse(body).error.code };
}

async function partsOf(parts: readonly Part[]): Promise<unknown[]> {
  expect(await send(formBytes(parts))).toEqual({ status: 200, code: undefined });
  if (!(found instanceof MultipartForm)) throw new Error("no form");
  return found.parts.map(({ name, value }) => [name, value]);
}

describe("a form", () => {
  it("is read whole, in the order of its parts", async () => {
    const bytes = Uint8Array.from({ length: 256 }, (_, index) => index);
    expect(
      await partsOf([
        { name: "image[]", value: bytes, fileName: "upload", type: "application/octet-stream" },
        { name: "prompt", value: "日本 \r\n--a\r\n" },
        { name: "image[]", value: "", fileName: "b.png", type: "image/png" },
        { name: "n", value: "1" },
        { name: "n", value: "2" },
      ]),
    ).toEqual([
      ["image[]", Buffer.from(bytes)],
      ["prompt", "日本 \r\n--a\r\n"],
      ["image[]", Buffer.alloc(0)],
      ["n", "1"],
      ["n", "2"],
    ]);
  });

  it("has images as bytes also where no file is named", async () => {
    const value = Uint8Array.of(0xff, 0xd8, 0xff);
    expect(await partsOf([{ name: "image", value, type: "image/jpeg" }])).toEqual([["image", Buffer.from(value)]]);
  });

  it("may name a field as objects name their own", async () => {
    expect(await partsOf([{ name: "__proto_", value: "x" }])).toEqual([["__proto_", "x"]]);
    expect(await send(formBytes([{ name: "__proto__", value: "x" }]))).toEqual({ status: 400, code: "bad_request" });
  });

  it("may be empty", async () => {
    expect(await partsOf([])).toEqual([]);
  });
});

describe("what is refused", () => {
  const file = { name: "image", value: "x", fileName: "a" };
  const whole = formBytes([file]);

  it.each<[string, Buffer, string, number, string]>([
    ["a form without a boundary", whole, "multipart/form-data", 400, "bad_request"],
    ["a form with another boundary", whole, "multipart/form-data; boundary=other", 400, "bad_request"],
    ["a form that is cut off", whole.subarray(0, -20), FORM_TYPE, 400, "bad_request"],
    ["text", Buffer.from("hello"), FORM_TYPE, 400, "bad_request"],
    ["other types", Buffer.from("hello"), "text/plain", 415, "unsupported_media_type"],
    ["other types of several parts", whole, "multipart/mixed; boundary=a-boundary", 415, "unsupported_media_type"],
    [
      "broken JSON in a part",
      formBytes([{ name: "n", value: "{", type: "application/json" }]),
      FORM_TYPE,
      400,
      "bad_request",
    ],
    ["18 files", formBytes(Array.from({ length: 18 }, () => file)), FORM_TYPE, 413, "payload_too_large"],
    [
      "101 fields",
      formBytes(Array.from({ length: 101 }, () => ({ name: "n", value: "1" }))),
      FORM_TYPE,
      413,
      "payload_too_large",
    ],
    [
      "a text of 65 kB",
      formBytes([{ name: "prompt", value: "x".repeat(65_537) }]),
      FORM_TYPE,
      413,
      "payload_too_large",
    ],
    [
      "a form that is too large",
      formBytes([{ ...file, value: "x".repeat(LIMIT) }]),
      FORM_TYPE,
      413,
      "payload_too_large",
    ],
    [
      "text after the form's end that is too large",
      Buffer.concat([whole, Buffer.alloc(LIMIT)]),
      FORM_TYPE,
      413,
      "payload_too_large",
    ],
  ])("%s", async (_name, payload, type, status, code) => {
    expect(await send(payload, type)).toEqual({ status, code });
  });

  it("is a form on a path that takes none", async () => {
    expect(await send(whole, FORM_TYPE, "/v1/plain")).toEqual({ status: 415, code: "unsupported_media_type" });
  });

  it("has a status, whatever was done to the bytes", async () => {
    const parts = [file, { name: "prompt", value: "x" }, { name: "stream", value: "true" }];
    const good = formBytes(parts);
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.tuple(fc.nat(good.byteLength - 1), fc.nat(255)), { minLength: 1, maxLength: 8 }),
        fc.nat(good.byteLength),
        async (changes, length) => {
          const bytes = Buffer.from(good);
          for (const [at, value] of changes) bytes[at] = value;
          const { status } = await send(bytes.subarray(0, length));
          expect([200, 400, 413]).toContain(status);
        },
      ),
      { numRuns: 300 },
    );
  });
});
