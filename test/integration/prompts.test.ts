/** Prompts reach the text encoders whole, and whatever is not read is named in the result. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { startTestServer, type TestServer } from "../support/server.ts";
import { post } from "../support/sse.ts";

interface Result {
  readonly image: { readonly url: string };
  readonly warnings: readonly string[];
}

let server: TestServer;
beforeAll(async () => {
  // Without the prompt inside, files are equal where images are.
  server = await startTestServer({ env: { LATENTCAST_METADATA: "0", LATENTCAST_MAX_BATCH: "1" } });
  await server.ready();
}, 120_000);
afterAll(() => server.close());

const words = Array.from({ length: 30 }, (_, index) => `word${index}`).join(" ");

async function result(prompt: string, more: object = {}): Promise<Result> {
  const input = { prompt, seed: 3, num_inference_steps: 2, width: 64, height: 64, output_format: "png", ...more };
  return (await (await post(server.url, input)).json()) as Result;
}

describe("a prompt", () => {
  it("of more than 77 tokens is read to its end", async () => {
    const [boat, house] = await Promise.all([result(`${words} a green boat`), result(`${words} a red house`)]);
    expect(boat.image.url).not.toBe(house.image.url);
    expect([boat.warnings, house.warnings]).toEqual([[], []]);
  });

  it("in plain syntax ends after 77 tokens, and the result quotes what was cut", async () => {
    const plain = { prompt_syntax: "plain" };
    const [boat, house] = await Promise.all([
      result(`${words} a green boat`, plain),
      result(`${words} a red house`, plain),
    ]);
    expect(boat.image.url).toBe(house.image.url);
    expect(boat.warnings).toEqual([
      expect.stringMatching(/^prompt is too long: its last \d+ tokens were not read, from “/),
    ]);
  });

  it("has weights, which plain syntax reads as text", async () => {
    const [weighted, unweighted] = await Promise.all([result("a (green:1.5) boat"), result("a green boat")]);
    expect(weighted.image.url).not.toBe(unweighted.image.url);
    const literal = await result(String.raw`a \(green:1.5\) boat`);
    const plain = await result("a (green:1.5) boat", { prompt_syntax: "plain" });
    expect(literal.image.url).toBe(plain.image.url);
  });
});
