/** Programs that read the OpenAPI document: two that judge it, and five that make clients of it, which must compile and work. */
import { execFile } from "node:child_process";
import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { delimiter, dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { startTestServer, testPython, type TestServer } from "../support/server.ts";

const root = fileURLToPath(new URL("../../", import.meta.url));
const tools = [dirname(testPython()), join(root, "node_modules", ".bin")];

let server: TestServer;
/** Inside the project, so that what is made finds its packages. */
let directory: string;
beforeAll(async () => {
  directory = await mkdtemp(join(root, ".generated-"));
  server = await startTestServer({ worker: "fixture_worker" });
  await server.ready();
  await writeFile(join(directory, "openapi.json"), await (await fetch(`${server.url}/openapi.json`)).text());
});
afterAll(async () => {
  await server.close();
  await rm(directory, { recursive: true });
});

/** Standard output. Rejects, with everything that was said, unless it ends well. */
async function run(command: string, ...args: readonly string[]): Promise<string> {
  const env = {
    PATH: [...tools, process.env["PATH"]].join(delimiter),
    HOME: directory,
    NO_COLOR: "1",
    // Nothing here calls home.
    REDOCLY_TELEMETRY: "off",
    REDOCLY_SUPPRESS_UPDATE_NOTICE: "true",
  };
  try {
    return (await promisify(execFile)(command, args, { cwd: directory, env, maxBuffer: 2 ** 26 })).stdout;
  } catch (error) {
    const { stdout = "", stderr = "" } = error as { stdout?: string; stderr?: string };
    throw new Error(`${command} ${args.join(" ")}: ${stdout}${stderr}`, { cause: error });
  }
}

async function typeCheck(folder: string): Promise<void> {
  const compilerOptions = {
    strict: true,
    noEmit: true,
    skipLibCheck: true,
    target: "es2022",
    module: "esnext",
    moduleResolution: "bundler",
    lib: ["es2023", "dom", "dom.iterable"],
    types: [],
  };
  await writeFile(join(directory, folder, "tsconfig.json"), JSON.stringify({ compilerOptions, include: ["**/*.ts"] }));
  await run("tsc", "-p", folder);
}

describe("the document", () => {
  it("lints clean with Redocly", async () => {
    const { totals } = JSON.parse(await run("redocly", "lint", "openapi.json", "--format=json")) as {
      totals: Record<string, number>;
    };
    expect(totals).toMatchObject({ errors: 0, warnings: 0 });
  });

  it("lints clean with Spectral", async () => {
    await writeFile(join(directory, "rules.yaml"), 'extends: ["spectral:oas"]\n');
    const output = await run("spectral", "lint", "openapi.json", "-r", "rules.yaml", "--fail-severity=hint");
    expect(output).toContain("No results");
  });
});

describe("a client made of it", () => {
  it("by openapi-typescript compiles", async () => {
    await run("openapi-typescript", "openapi.json", "-o", "types/api.ts");
    await typeCheck("types");
    expect(await readFile(join(directory, "types", "api.ts"), "utf8")).toContain("GenerateResult: {");
  });

  it("by hey-api compiles, and makes an image", async () => {
    await run("openapi-ts", "-i", "openapi.json", "-o", "hey");
    const program = `
      import { createClient } from "./client/index.ts";
      import { generate, type GenerateResult } from "./index.ts";
      const { data } = await generate({ client: createClient({ baseUrl: "${server.url}" }), body: { prompt: "x", seed: 7 } });
      const result: GenerateResult | undefined = data;
      console.log(result?.seed, result?.image.width);
    `;
    await writeFile(join(directory, "hey", "call.mts"), program);
    expect(await run("tsx", "hey/call.mts")).toBe("7 64\n");
    await rm(join(directory, "hey", "call.mts"));
    await typeCheck("hey");
  });

  it.each(["zod", "fetch"])("by orval (%s) compiles", async (client) => {
    await run("orval", "--input", "openapi.json", "--output", `orval-${client}/api.ts`, "--client", client);
    await typeCheck(`orval-${client}`);
    expect(await readFile(join(directory, `orval-${client}`, "api.ts"), "utf8")).toMatch(/generate/i);
  });

  it("by openapi-python-client leaves nothing out, and makes an image", async () => {
    await mkdir(join(directory, "python"));
    const options = ["--meta", "none", "--fail-on-warning"];
    await run("openapi-python-client", "generate", "--path", "openapi.json", "--output-path", "python/api", ...options);
    await run("python", "-m", "compileall", "-q", "python");
    const program = `
from api import Client
from api.api.images import generate
from api.models import GenerateInput

result = generate.sync(client=Client(base_url="${server.url}"), body=GenerateInput(prompt="x", seed=7))
print(result.seed, result.image.width)
`;
    await writeFile(join(directory, "python", "call.py"), program);
    expect(await run("python", "python/call.py")).toBe("7 64\n");
  });
});
