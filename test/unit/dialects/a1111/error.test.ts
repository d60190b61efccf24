import { describe, expect, it } from "vitest";
import { a1111Dialect } from "../../../../src/dialects/a1111/dialect.ts";
import { describeErrors, LatentcastError } from "../../../../src/errors.ts";
import { invalidRequest } from "../../../../src/jobs/request.ts";

const { error: answer } = a1111Dialect;

describe("an error", () => {
  it.each(describeErrors())("$code has its status and the four keys, with a text in detail", ({ code, status }) => {
    const { status: answered, body } = answer(new LatentcastError(code));
    expect(answered).toBe(status);
    expect(body).toEqual({ error: code, detail: expect.stringMatching(/./), body: "", errors: expect.any(String) });
  });

  it("of the input names the fields by A1111's names", () => {
    const fields = ["num_inference_steps", "image_url"].map((name) => ({ loc: ["body", name], msg: "bad", type: "x" }));
    expect(answer(invalidRequest(fields))).toMatchObject({
      status: 422,
      body: { detail: "steps: bad; init_images: bad" },
    });
  });

  it("that asks for a key says how one is sent", () => {
    expect(answer(new LatentcastError("unauthorized")).headers["www-authenticate"]).toMatch(/^Basic /);
    expect(answer(new LatentcastError("forbidden")).headers).toEqual({});
  });

  it("that asks to wait says how long", () => {
    expect(answer(new LatentcastError("queue_full", { retryAfterSeconds: 3 })).headers["retry-after"]).toBe("3");
  });
});
