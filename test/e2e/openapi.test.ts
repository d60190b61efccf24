/** The document says what the server does, and the page that shows it needs nothing from elsewhere. */
import { spawn } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { text } from "node:stream/consumers";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { chromiumPath, startBrowser } from "../support/browser.ts";
import { startTestServer, testPython, type TestServer } from "../support/server.ts";

type Json = Readonly<Record<string, unknown>>;

interface Document {
  readonly openapi: string;
  readonly paths: Readonly<Record<string, Readonly<Record<string, Json>>>>;
  readonly components: { readonly schemas: Readonly<Record<string, Json>> };
}

/** Other names of what is documented, the page itself, sockets (OpenAPI has none), and what only says that it does not exist here. */
const UNDOCUMENTED =
  /^\/($|fal$|api\/fal\/proxy|:owner\/:alias|fal-ai\/:alias|queue\/?\*|requests\/:id\/response|docs|openapi\.json|assets|favicon|(rest\/)?\.well-known|realtime$|rest\/storage\/(auth|upload\/initiate-multipart)|(v1\/)?images\/(edits|variations)|images\/generations|(v1\/)?models\/?\*|models$)/;

let server: TestServer;
let document: Document;
let scratch: string;
beforeAll(async () => {
  scratch = await mkdtemp(join(tmpdir(), "latentcast-openapi-"));
  // Small pictures only: what is tested here is what is said about them.
  server = await startTestServer({
    worker: "fixture_worker",
    env: { LATENTCAST_MAX_PIXELS: "16384", LATENTCAST_WORKER_FIXTURE_STEP_SECONDS: "0" },
  });
  await server.ready();
  document = (await (await fetch(`${server.url}/openapi.json`)).json()) as Document;
});
afterAll(async () => {
  await server.close();
  await rm(scratch, { recursive: true });
});

/** `METHOD /path` of every route, read from Fastify's own picture of its tree. */
function routes(): string[] {
  const parents: string[] = [];
  return server.app
    .printRoutes({ commonPrefix: false })
    .split("\n")
    .flatMap((line) => {
      const [, indent = "", path = "", methods = ""] = /^([│ ├└─]*)(\S+)(?: \(([A-Z, ]+)\))?/.exec(line) ?? [];
      if (path === "") return [];
      const depth = indent.length / 4;
      const full = `${parents[depth - 1] ?? ""}${path}`.replaceAll("//", "/");
      parents.length = depth;
      parents[depth] = full;
      return methods === "" ? [] : methods.split(", ").map((method) => `${method} ${full}`);
    });
}

describe("/openapi.json", () => {
  it("is OpenAPI 3.1 and lists fields in the order of their schemas", () => {
    expect(document.openapi).toBe("3.1.0");
    const { GenerateInput: input } = document.components.schemas;
    expect(input?.["x-fal-order-properties"]).toEqual(Object.keys(input?.["properties"] ?? {}));
    expect(input?.["required"]).toEqual(["prompt"]);
  });

  it("has every route of the server", () => {
    const documented = Object.entries(document.paths).flatMap(([path, operations]) =>
      Object.keys(operations).map((method) => `${method.toUpperCase()} ${path.replaceAll(/\{(\w+)\}/g, ":$1")}`),
    );
    const offered = routes().filter((route) => /^(GET|POST|PUT) /.test(route));
    const missing = offered.filter((route) => {
      const [method = "", path = ""] = route.split(" ", 2);
      if (documented.includes(route) || (method === "GET" && UNDOCUMENTED.test(path))) return false;
      return !(UNDOCUMENTED.test(path) && path !== "/") && route !== "POST /requests/:id/cancel";
    });
    expect(missing).toEqual([]);
    // fast-sdxl is one of the names of `/:owner/:alias`.
    expect(documented.filter((route) => !route.includes("fast-sdxl") && !offered.includes(route))).toEqual([]);
  });

  it("is right about every answer to requests made from it, none of which is a 5xx", async ({ signal }) => {
    const checks = [
      "not_a_server_error",
      "status_code_conformance",
      "content_type_conformance",
      "response_headers_conformance",
    ];
    const child = spawn(
      join(dirname(testPython()), "st"),
      [
        "run",
        `${server.url}/openapi.json`,
        `--checks=${[...checks, "response_schema_conformance"].join()}`,
        // The coverage phase is thousands of requests: minutes instead of seconds on a small machine.
        "--phases=fuzzing,stateful",
        "--max-examples=4",
        "--seed=1",
        "--warnings=off",
        "--no-color",
      ],
      { cwd: scratch, stdio: ["ignore", "pipe", "ignore"], env: { PATH: process.env["PATH"] }, signal },
    );
    // Told by what it has not printed; without a listener it would end this process.
    child.on("error", () => undefined);
    const output = await text(child.stdout);
    const tested = /Tested: (\d+)/.exec(output)?.[1];
    expect(output).toMatch(/No issues found/);
    expect(Number(tested)).toBe(Object.values(document.paths).flatMap(Object.keys).length);
  });
});

describe("/docs", () => {
  it("shows the operations with nothing from elsewhere, and breaks no rule of its own", async (context) => {
    if (chromiumPath === undefined) context.skip("needs Chromium");
    const browser = await startBrowser();
    try {
      const page = await browser.newPage();
      const asked: string[] = [];
      const complaints: string[] = [];
      page.on("request", (request) => asked.push(request.url()));
      page.on("console", (message) => {
        if (message.type() === "error") complaints.push(message.text());
      });
      page.on("pageerror", (error) => complaints.push(error.message));
      await page.goto(`${server.url}/docs`);
      await page.getByText("Make images and show them while they form").first().waitFor();
      expect(asked.filter((url) => !url.startsWith(server.url) && !url.startsWith("data:"))).toEqual([]);
      expect(complaints).toEqual([]);
    } finally {
      await browser.close();
    }
  });
});
