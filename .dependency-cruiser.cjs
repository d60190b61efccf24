/**
 * The import law. A layer may import itself, the layers after it, and the leaves:
 *   main → cli → (in-process) → runtime → http → orchestrator → jobs → worker → protocol
 * `schema` and `client` run in browsers. Leaves that everything may import: config, errors, package-info.
 */

/** @param {string} name @param {string} comment @param {object} from @param {object} to */
const forbid = (name, comment, from, to) => ({ name, comment, severity: "error", from, to });

/** @param {string} module @param {string[]} files @returns {object} */
const onlyIn = (module, files) =>
  forbid(
    `${module}-has-one-owner`,
    `Only ${files.join(", ")} may import ${module}: its pitfalls are handled there.`,
    { path: "^src/", pathNot: files.map((file) => `^src/${file}$`) },
    { path: `^node_modules/${module}/` },
  );

module.exports = {
  forbidden: [
    forbid("no-cycles", "A cycle has no order to read it in.", {}, { circular: true }),
    forbid("resolvable", "Every import has to resolve.", {}, { couldNotResolve: true }),
    forbid(
      "no-dev-dependencies-in-src",
      "What is published must run without devDependencies.",
      { path: "^src/", pathNot: "^src/playground/" },
      { dependencyTypes: ["npm-dev", "npm-no-pkg", "npm-unknown"], dependencyTypesNot: ["type-only"] },
    ),
    forbid(
      "src-is-closed",
      "Tests, scripts and benchmarks build on src, never the other way.",
      { path: "^src/" },
      {
        path: "^(test|scripts|bench|examples)/",
      },
    ),

    forbid(
      "protocol-is-a-leaf",
      "The wire knows zod and itself only.",
      { path: "^src/protocol/" },
      {
        pathNot: ["^src/protocol/", "^node_modules/zod/"],
      },
    ),
    forbid(
      "schema-is-a-leaf",
      "What clients see runs in browsers.",
      { path: "^src/schema/" },
      {
        pathNot: ["^src/schema/", "^src/protocol/messages\\.ts$", "^node_modules/zod/"],
      },
    ),
    forbid(
      "client-is-browser-safe",
      "The client runs in browsers.",
      { path: "^src/client/" },
      {
        pathNot: ["^src/(client|schema)/", "^src/errors\\.ts$", "^node_modules/eventsource-parser/"],
      },
    ),
    forbid(
      "errors-is-a-leaf",
      "The catalogue is shared with the browser.",
      { path: "^src/errors\\.ts$" },
      {
        pathNot: "^src/schema/",
      },
    ),
    forbid(
      "worker-knows-protocol-only",
      "Workers know nothing of jobs, HTTP or the command line.",
      { path: "^src/worker/" },
      {
        path: "^src/",
        pathNot: ["^src/worker/", "^src/protocol/", "^src/(config|package-info)\\.ts$"],
      },
    ),
    forbid(
      "jobs-know-workers",
      "Jobs know workers, never HTTP or the command line.",
      { path: "^src/jobs/" },
      {
        path: "^src/",
        pathNot: ["^src/jobs/", "^src/worker/", "^src/protocol/", "^src/schema/", "^src/(config|errors)\\.ts$"],
      },
    ),
    forbid(
      "images-stand-alone",
      "Encoding knows formats, never jobs or HTTP.",
      { path: "^src/images/" },
      {
        path: "^src/",
        pathNot: ["^src/images/", "^src/schema/"],
      },
    ),
    forbid(
      "http-never-sees-workers",
      "HTTP speaks to the orchestrator in terms of jobs.",
      { path: "^src/http/" },
      {
        path: ["^src/worker/", "^src/cli(/|\\.ts$)", "^src/(main|runtime|in-process|index)\\.ts$"],
        dependencyTypesNot: ["type-only"],
      },
    ),
    forbid(
      "library-never-sees-the-command-line",
      "cli and main are the outermost layer.",
      { path: "^src/", pathNot: "^src/(cli/|cli\\.ts$|main\\.ts$)" },
      {
        path: "^src/(cli/|cli\\.ts$|main\\.ts$)",
      },
    ),
    forbid("main-is-the-entry", "Signals and exit codes are nobody's dependency.", {}, { path: "^src/main\\.ts$" }),

    onlyIn("zeromq", ["worker/transport\\.ts"]),
    onlyIn("execa", ["worker/process\\.ts"]),
    onlyIn("sharp", ["images/encode\\.ts"]),
  ],
  options: {
    doNotFollow: { path: "node_modules" },
    tsConfig: { fileName: "tsconfig.json" },
    tsPreCompilationDeps: true,
    combinedDependencies: false,
    enhancedResolveOptions: { exportsFields: ["exports"], conditionNames: ["import", "node", "types", "default"] },
  },
};
