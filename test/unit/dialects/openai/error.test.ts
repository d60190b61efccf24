import { describe, expect, it } from "vitest";
import { openaiDialect } from "../../../../src/dialects/openai/dialect.ts";
import { describeErrors, LatentcastError } from "../../../../src/errors.ts";
import { invalidRequest } from "../../../../src/jobs/request.ts";

const { error: answer } = openaiDialect;
const codes = describeErrors().map(({ code }) => code);

describe("an error", () => {
  it.each(codes)("%s has the four keys that clients read", (code) => {
    expect(answer(new LatentcastError(code)).body).toEqual({
      error: { message: expect.stringMatching(/./), type: expect.stringMatching(/_error$/), param: null, code },
    });
  });

  it.each(codes)("%s is never a 409, which clients repeat, nor a 422", (code) => {
    expect([409, 422]).not.toContain(answer(new LatentcastError(code)).status);
  });

  it("of the input is a 400 that names the field by OpenAI's name, once", () => {
    const fields = ["width", "height"].map((name) => ({ loc: ["body", name], msg: "too large", type: "too_big" }));
    expect(answer(invalidRequest(fields))).toMatchObject({
      status: 400,
      body: { error: { message: "size: too large", param: "size", type: "invalid_request_error" } },
    });
  });

  it("that repetition cannot mend says so", () => {
    const final = codes.filter((code) => answer(new LatentcastError(code)).headers["x-should-retry"] === "false");
    expect(final).toEqual(["not_implemented", "numerical_error", "out_of_memory", "worker_crashed"]);
  });

  it.each([
    [3, "3"],
    [600, "60"],
  ])("that asks to wait %i seconds says %s, for longer is not obeyed", (retryAfterSeconds, header) => {
    expect(answer(new LatentcastError("queue_full", { retryAfterSeconds })).headers["retry-after"]).toBe(header);
  });

  it("on the way is a named event with the same body", () => {
    const given = openaiDialect.read({ path: "/v1/images/generations", body: { prompt: "x", stream: true } });
    if (!given.ok) throw new Error("refused");
    const error = new LatentcastError("out_of_memory");
    expect(given.exchange.frame({ kind: "error", error }).toString()).toBe(
      `event: error\ndata: ${JSON.stringify(answer(error).body)}\n\n`,
    );
  });
});
