import { existsSync } from "node:fs";
import { defineConfig } from "vitest/config";

/** Real processes on a busy two-core machine; a timeout here is a hang, never a slow run. */
const SECONDS = 1_000;

/**
 * Tests of real processes run a second time in continuous integration when they fail. One that passes then is printed as flaky at
 * the end of the run: it is to be mended, but does not stop a change that has nothing to do with it.
 */
const REAL_PROCESSES = { retry: process.env["CI"] === "true" ? 1 : 0 };

/** Suites of clients, unmodified. The others in `test/e2e` are about the page, documents, proxies and programs that bring their own server. */
const FLEET_CLIENTS = [
  "ai-sdk",
  "browser-client",
  "client",
  "client-realtime",
  "curl",
  "demo-model",
  "event-sources",
  "fal-js",
  "fal-js-queue",
  "fal-python",
  "litellm",
  "openai-ai-sdk",
  "openai-edits",
  "openai-node",
  "openai-python",
  "realtime-fal-js",
  "realtime-fal-python",
  "webuiapi",
];
const hasNats = existsSync(process.env["LATENTCAST_TEST_NATS"] || ".venv/bin/nats-server");

/** Only projects with as many workers may run together. A negative order is no order: Vitest leaves such files out without a word. */
const AFTER_UNIT = { sequence: { groupOrder: 1 } };
const LAST = { sequence: { groupOrder: 2 } };

export default defineConfig({
  test: {
    // Whole workers run beside the tests; more files at once than cores only makes each of them slower.
    maxWorkers: 2,
    coverage: { provider: "v8", include: ["src/**/*.ts"], exclude: ["src/playground/**"] },
    projects: [
      // Files share modules: importing them anew took more time than the tests. So a test puts back what it fakes.
      // A third of their time they wait, which three at once fill.
      project("unit", { testTimeout: 60 * SECONDS, hookTimeout: 60 * SECONDS, isolate: false, maxWorkers: 3 }),
      project("integration", {
        ...REAL_PROCESSES,
        ...AFTER_UNIT,
        testTimeout: 120 * SECONDS,
        hookTimeout: 120 * SECONDS,
        globalSetup: ["test/support/built-programs.ts"],
      }),
      project("e2e", {
        ...REAL_PROCESSES,
        ...AFTER_UNIT,
        testTimeout: 180 * SECONDS,
        hookTimeout: 180 * SECONDS,
        globalSetup: ["test/support/built-page.ts"],
      }),
      // Against a gateway with two nodes behind it, as against a single server.
      project("fleet", {
        ...REAL_PROCESSES,
        ...AFTER_UNIT,
        include: hasNats ? FLEET_CLIENTS.map((name) => `test/e2e/${name}.test.ts`) : [],
        env: { LATENTCAST_TEST_FLEET: "1" },
        globalSetup: hasNats ? ["test/support/nats-server.ts"] : [],
        testTimeout: 180 * SECONDS,
        hookTimeout: 180 * SECONDS,
      }),
      // Building an image downloads torch.
      project("container", {
        ...REAL_PROCESSES,
        ...LAST,
        testTimeout: 1_800 * SECONDS,
        hookTimeout: 1_800 * SECONDS,
        fileParallelism: false,
      }),
    ],
  },
});

interface ProjectOptions {
  readonly testTimeout: number;
  readonly hookTimeout: number;
  readonly fileParallelism?: boolean;
  readonly isolate?: boolean;
  readonly maxWorkers?: number;
  readonly sequence?: { readonly groupOrder: number };
  readonly retry?: number;
  readonly include?: string[];
  readonly env?: Record<string, string>;
  /** Run once before the files of the project. */
  readonly globalSetup?: string[];
}

function project(name: string, options: ProjectOptions) {
  return {
    test: {
      name,
      include: [`test/${name}/**/*.test.ts`],
      environment: "node" as const,
      setupFiles: ["test/support/byte-equality.ts"],
      restoreMocks: true,
      ...options,
    },
  };
}
