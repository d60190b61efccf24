/** Every example, and every block of code in the documentation that says `run`, does what it says. */
import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import sharp from "sharp";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { chromiumPath, startBrowser, startSite } from "../support/browser.ts";
import { runFile } from "../support/run.ts";
import { startTestServer, testPython, type TestServer } from "../support/server.ts";

const root = new URL("../../", import.meta.url);
const example = (name: string): string => fileURLToPath(new URL(`examples/${name}`, root));

interface Block {
  readonly page: string;
  readonly language: string;
  readonly code: string;
}

const LANGUAGES: Readonly<Record<string, string>> = { js: "mjs", ts: "ts", python: "py", sh: "sh" };

async function blocks(page: string): Promise<Block[]> {
  const text = await readFile(new URL(page, root), "utf8");
  return [...text.matchAll(/^```(\w+) run\n(.*?)^```$/gms)].map(([, language = "", code = ""]) => ({
    page,
    language,
    code,
  }));
}

let server: TestServer;
let directory: string;
beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "latentcast-examples-"));
  server = await startTestServer({ worker: "fixture_worker", env: { LATENTCAST_CORS_ORIGINS: "*" } });
  await server.ready();
});
afterAll(async () => {
  await server.close();
  await rm(directory, { recursive: true });
});

/** For what brings its own orchestrator. */
function inProcess(): Record<string, string> {
  return {
    LATENTCAST_PYTHON: testPython(),
    LATENTCAST_MODEL: "noise",
    LATENTCAST_DEVICES: "cpu",
    // Measuring what batches pay takes longer than the pictures.
    LATENTCAST_MAX_BATCH: "1",
    LATENTCAST_CACHE_DIR: directory,
    LATENTCAST_DATA_DIR: directory,
  };
}

const names = await readdir(new URL("examples/", root));
const found = (
  await Promise.all(["README.md", "docs/clients.md", "docs/openai.md", "docs/a1111.md", "docs/realtime.md"].map(blocks))
).flat();

describe("the example", () => {
  it("node-stream.ts writes the image it has watched", async () => {
    const file = join(directory, "streamed.jpg");
    // A second between the two previews: one that is read late gives way to the next.
    const env = { LATENTCAST_WORKER_FIXTURE_STEP_SECONDS: "0.2" };
    await using slow = await startTestServer({ worker: "fixture_worker", env });
    await slow.ready();
    const output = await runFile(example("node-stream.ts"), ["a boat", file], { LATENTCAST_URL: slow.url });
    expect(output).toMatch(/^preview after step 1 of 6$/m);
    expect(await sharp(file).metadata()).toMatchObject({ format: "jpeg", width: 64, height: 64 });
  });

  it("in-process.ts makes an image without a server", async () => {
    const file = join(directory, "in-process.jpg");
    const output = await runFile(example("in-process.ts"), ["a boat", file], inProcess());
    expect(output).toMatch(/^preview after step 1 of /m);
    expect(await sharp(file).metadata()).toMatchObject({ format: "jpeg" });
  });

  it("fal-js.mjs streams and queues through fal's client", async () => {
    const output = await runFile(example("fal-js.mjs"), [], { LATENTCAST_URL: server.url });
    expect(output).toMatch(/^preview after step 1 of 6$/m);
    expect(output).toMatch(/^streamed 64 × 64, seed \d+$/m);
    expect(output).toMatch(/^COMPLETED$/m);
    expect(output).toMatch(/^queued 64 × 64, request [0-9a-f-]{36}$/m);
  });

  it("fal_python.py streams and queues through fal's client", async () => {
    const output = await runFile(example("fal_python.py"), [], { LATENTCAST_URL: server.url });
    expect(output).toMatch(/^preview after step 1 of 6$/m);
    expect(output).toMatch(/^streamed 64 × 64, seed \d+$/m);
    expect(output).toMatch(/^queued 64 × 64$/m);
  });

  it("curl.sh runs, streams and queues", async () => {
    const output = await runFile(example("curl.sh"), [], { LATENTCAST_URL: server.url });
    expect(output.match(/^data: \{"image":/gm)?.length).toBeGreaterThanOrEqual(4);
    expect(output).toMatch(/^event: result$/m);
    expect(output).toContain('"status":"COMPLETED"');
  });

  it("browser.html shows the image while it forms", async (context) => {
    if (chromiumPath === undefined) context.skip("needs Chromium");
    const site = await startSite({}, await readFile(example("browser.html"), "utf8"));
    const browser = await startBrowser();
    try {
      const page = await browser.newPage();
      await page.goto(`${site.origin}/?server=${server.url}`);
      await page.getByRole("button").click();
      await page.getByText(/^seed \d+$/).waitFor();
      expect(
        await page.locator("img").evaluate((image: HTMLImageElement) => image.decode().then(() => image.naturalWidth)),
      ).toBe(64);
    } finally {
      await browser.close();
      await site.close();
    }
  });

  it.each(names)("%s has a test here", async (name) => {
    expect(await readFile(new URL(import.meta.url), "utf8")).toContain(`"${name} `);
  });
});

describe("a block of code", () => {
  it.each(found)("of $page in $language runs", async ({ language, code }) => {
    const file = join(fileURLToPath(root), `.block-${crypto.randomUUID()}.${LANGUAGES[language]}`);
    // A page for readers leaves out what it does with the picture.
    const before = language === "ts" || language === "js" ? "globalThis.show = () => undefined;\n" : "";
    await writeFile(file, before + code.replaceAll("http://127.0.0.1:8080", server.url));
    try {
      await expect(runFile(file, [], inProcess())).resolves.toBeTypeOf("string");
    } finally {
      await rm(file);
    }
  });
});

/** Says so when a promise is rejected that nobody handles, which ends a program wherever it happens to be. */
const WATCHER = 'process.on("unhandledRejection", () => console.error("nobody handled it"));';
const WATCH = `data:text/javascript,${encodeURIComponent(WATCHER)}`;

describe("a run that fails", () => {
  let failing: TestServer;
  beforeAll(async () => {
    failing = await startTestServer({ worker: "always_fails" });
    await failing.ready();
  });
  afterAll(() => failing.close());

  /** What the program said on its way out; empty if it handled the failure and went on. */
  async function failureOf(file: string): Promise<string> {
    const env = { LATENTCAST_URL: failing.url, NODE_OPTIONS: `--import=${WATCH}` };
    return runFile(file, [], env).then(
      () => "",
      (error: Error) => error.message,
    );
  }

  it.each(["fal-js.mjs", "node-stream.ts"])("ends the example %s where it awaits the result", async (name) => {
    const { failed } = failing.jobs.snapshot().counters;
    const failure = await failureOf(example(name));
    // fal's client knows that the connection broke, ours why.
    expect(failure).toMatch(/terminated|memory/);
    expect(failure).not.toContain("nobody handled it");
    expect(failing.jobs.snapshot().counters.failed).toBe(failed + 1);
  });

  const clients = found.filter(
    ({ language, code }) => "js ts".includes(language) && code.includes("http://127.0.0.1:8080"),
  );
  it.each(clients)("reaches who awaits it in the block of $page in $language", async ({ language, code }) => {
    const { failed } = failing.jobs.snapshot().counters;
    const file = join(fileURLToPath(root), `.block-${crypto.randomUUID()}.${LANGUAGES[language]}`);
    await writeFile(file, code.replaceAll("http://127.0.0.1:8080", failing.url).replaceAll("show(", "void ("));
    try {
      expect(await failureOf(file)).not.toContain("nobody handled it");
      expect(failing.jobs.snapshot().counters.failed).toBeGreaterThan(failed);
    } finally {
      await rm(file);
    }
  });
});
