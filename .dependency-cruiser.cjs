/**
 * The import law, enforced by `npm run check`. scripts/lib/layers.json is the list; `npm run gen` copies it into docs/architecture.md.
 * A folder or file of src may import itself and what its row names. A row with a slash is a room of a folder: among its siblings it may
 * import what the row names, and elsewhere what its folder may. Types are imports too.
 */

/** @type {Readonly<Record<string, readonly string[]>>} */
const LAYERS = require("./scripts/lib/layers.json");

/** Libraries with pitfalls, and the one file where they are handled. */
const OWNERS = {
  zeromq: ["worker/transport.ts"],
  execa: ["processes/child.ts"],
  sharp: ["images/decode.ts", "images/encode.ts"],
  ws: ["http/realtime/sockets.ts"],
  "@msgpack/msgpack": ["http/realtime/coding.ts"],
  "@nats-io": ["cluster/nats/[a-z]+.ts"],
};

/** @param {string} name @param {string} comment @param {object} from @param {object} to */
const forbid = (name, comment, from, to) => ({ name, comment, severity: "error", from, to });

/** Matches the folder `src/name/` and the file `src/name.ts`. @param {readonly string[]} names */
const inSource = (names) => `^src/(${names.join("|")})(/|\\.ts$)`;

const layerRules = Object.entries(LAYERS).map(([name, allowed]) => {
  const folder = name.includes("/") ? `${name.slice(0, name.lastIndexOf("/"))}/` : "";
  return forbid(
    `${name}-imports`,
    `${name} may import ${allowed.length === 0 ? "nothing of ours" : allowed.join(", ")}.`,
    { path: inSource([name]) },
    { path: `^src/${folder}`, pathNot: inSource([name, ...allowed]) },
  );
});

const ownerRules = Object.entries(OWNERS).map(([module, files]) =>
  forbid(
    `${module}-has-one-owner`,
    `Only ${files.join(", ")} may import ${module}: its pitfalls are handled there.`,
    { path: "^src/", pathNot: files.map((file) => `^src/${file.replace(".", "\\.")}$`) },
    { path: `^node_modules/${module}/` },
  ),
);

/** What runs in browsers may load these packages only. */
const BROWSER_PACKAGES = { protocol: ["zod"], schema: ["zod"], client: ["eventsource-parser"] };

const browserRules = Object.entries(BROWSER_PACKAGES).map(([name, packages]) =>
  forbid(
    `${name}-runs-in-browsers`,
    `${name} runs in browsers: of packages it may import ${packages.join(", ")} only.`,
    { path: inSource([name]) },
    { pathNot: ["^src/", ...packages.map((module) => `^node_modules/${module}/`)] },
  ),
);

module.exports = {
  forbidden: [
    forbid("no-cycles", "A cycle has no order to read it in.", {}, { circular: true }),
    forbid("resolvable", "Every import has to resolve.", {}, { couldNotResolve: true }),
    forbid(
      "every-folder-has-a-row",
      "Add the new folder or file to LAYERS.",
      { path: "^src/", pathNot: inSource(Object.keys(LAYERS)) },
      { path: "." },
    ),
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
      { path: "^(test|scripts|bench|examples)/" },
    ),
    ...layerRules,
    ...browserRules,
    ...ownerRules,
  ],
  options: {
    doNotFollow: { path: "node_modules" },
    tsConfig: { fileName: "tsconfig.json" },
    tsPreCompilationDeps: true,
    combinedDependencies: false,
    enhancedResolveOptions: { exportsFields: ["exports"], conditionNames: ["import", "node", "types", "default"] },
  },
};
