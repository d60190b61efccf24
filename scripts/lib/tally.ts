/** What came of the tests, and whether what was skipped had to be. */
import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";

export interface Skipped {
  readonly name: string;
  readonly reason: string;
}

export interface Tally {
  passed: number;
  failed: number;
  readonly skipped: Skipped[];
}

/**
 * What a test may do without, by the name in its reason `needs NAME`. A skip for anything else, or for something that is here,
 * is a mistake that the continuous integration run refuses.
 */
const NEEDS: Readonly<Record<string, () => boolean>> = {
  Docker: () => succeeds("docker", ["info"]),
  "Docker Compose": () => succeeds("docker", ["compose", "version"]) || succeeds("docker-compose", ["version"]),
  Linux: () => process.platform === "linux",
  CUDA: () => succeeds("nvidia-smi", ["-L"]),
  Chromium: () => ["chromium", "chromium-browser", "google-chrome"].some((name) => succeeds(name, ["--version"])),
  nginx: () => succeeds("nginx", ["-v"]),
  HAProxy: () => succeeds("haproxy", ["-v"]),
  Caddy: () => succeeds("caddy", ["version"]),
  "mount namespaces": () => succeeds("unshare", ["-rm", "true"]),
  "mount rights": () => succeeds("unshare", ["-m", "mount", "-t", "tmpfs", "none", "/mnt"]),
  "published weights": () => existsSync(process.env["LATENTCAST_TEST_TAESDXL"] || "/nonexistent"),
};

export function isHere(need: string): boolean {
  return NEEDS[need]?.() ?? false;
}

/** Those that were skipped without need. */
export function needlesslySkipped(skipped: readonly Skipped[]): Skipped[] {
  return skipped.filter(({ reason }) => {
    const need = /^needs (.+)$/.exec(reason)?.[1];
    return need === undefined || !Object.hasOwn(NEEDS, need) || isHere(need);
  });
}

/** Reads what `pytest --junitxml` writes. */
export function readJunit(xml: string): Tally {
  const attribute = (text: string, name: string): string => new RegExp(`\\b${name}="([^"]*)"`).exec(text)?.[1] ?? "";
  const suite = /<testsuite\b[^>]*>/.exec(xml)?.[0] ?? "";
  const count = (name: string): number => Number(attribute(suite, name));
  const failed = count("failures") + count("errors");
  const skipped = [...xml.matchAll(/<testcase\b([^>]*)>\s*<skipped\b([^>]*)>/g)].map(([, test = "", skip = ""]) => ({
    name: `${attribute(test, "classname")} ${attribute(test, "name")}`,
    reason: attribute(skip, "message"),
  }));
  return { passed: count("tests") - failed - skipped.length, failed, skipped };
}

function succeeds(command: string, args: readonly string[]): boolean {
  return spawnSync(command, args, { stdio: "ignore", timeout: 10_000 }).status === 0;
}
