/** LiteLLM, unmodified from PyPI: its `fal_ai` provider, and OpenAI's protocol through it. */
import { execFile } from "node:child_process";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import sharp from "sharp";
import { expect, it } from "vitest";
import { pythonPackages } from "../support/python-packages.ts";
import { startTestServer, testPython } from "../support/server.ts";

const execute = promisify(execFile);
const fixture = (name: string): string => fileURLToPath(new URL(`../fixtures/${name}`, import.meta.url));

interface Observed {
  readonly fal: { readonly url: string }[];
  readonly openai: { readonly url: string }[];
  readonly edit: { readonly b64_json: string }[];
  readonly refusal: Readonly<Record<string, unknown>>;
  readonly asynchronous: { readonly b64_json: string }[];
}

it("LiteLLM gets images as fal's and as OpenAI's client, edits one, and hears what was wrong", async () => {
  const [packages, started] = await Promise.all([
    pythonPackages("litellm-requirements.txt"),
    startTestServer({ worker: "fixture_worker" }),
  ]);
  await using server = started;
  await server.ready();
  const { stdout } = await execute(testPython(), [fixture("litellm_checks.py")], {
    env: {
      PATH: process.env["PATH"],
      PYTHONPATH: packages,
      LATENTCAST_URL: server.url,
      // Its list of prices comes from the network otherwise.
      LITELLM_LOCAL_MODEL_COST_MAP: "True",
    },
    maxBuffer: 2 ** 26,
  });
  // The script prints what the interface says.
  const seen = JSON.parse(stdout) as Observed;
  for (const { url } of [...seen.fal, ...seen.openai]) expect((await fetch(url)).status).toBe(200);
  expect([seen.fal, seen.openai, seen.edit, seen.asynchronous].map(({ length }) => length)).toEqual([1, 1, 1, 2]);
  for (const { b64_json } of [...seen.edit, ...seen.asynchronous])
    expect(await sharp(Buffer.from(b64_json, "base64")).metadata()).toMatchObject({ width: 256, height: 256 });
  expect(seen.refusal).toEqual({
    kind: "BadRequestError",
    status: 400,
    message: expect.stringMatching(/n: .*<=10/),
  });
});
