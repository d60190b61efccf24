/** What came of the tests, and whether what was skipped had to be. */
import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";

export interface Skipped {
  readonly name: string;
  readonly reason: string;
}

export interface Failed {
  readonly name: string;
  /** First line of its error; the whole of it stands where the test ran. */
  readonly message: string;
}

export interface Tally {
  passed: number;
  readonly failed: Failed[];
  readonly skipped: Skipped[];
  /** Names of those that passed only when they ran again. */
  readonly flaky: string[];
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
  "nats-server": () => existsSync(process.env["LATENTCAST_TEST_NATS"] || ".venv/bin/nats-server"),
  Caddy: () => succeeds("caddy", ["version"]),
  promtool: () => succeeds("promtool", ["--version"]),
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
  const attribute = (text: string, name: string): string =>
    unescapeXml(new RegExp(`\\b${name}="([^"]*)"`).exec(text)?.[1] ?? "");
  const tally: Tally = { passed: 0, failed: [], skipped: [], flaky: [] };
  const cases = xml.matchAll(/<testcase\b([^>]*?)(?:\/>|>(?:\s*<(failure|error|skipped)\b([^>]*)>)?)/g);
  for (const [, test = "", what, detail = ""] of cases) {
    const name = `${attribute(test, "classname")} ${attribute(test, "name")}`;
    const message = attribute(detail, "message");
    if (what === undefined) tally.passed += 1;
    else if (what === "skipped") tally.skipped.push({ name, reason: message });
    else tally.failed.push({ name, message: firstLine(message) });
  }
  return tally;
}

export function firstLine(text: string): string {
  return text.split("\n", 1)[0] ?? "";
}

function unescapeXml(text: string): string {
  const named: Readonly<Record<string, string>> = { quot: '"', apos: "'", lt: "<", gt: ">", amp: "&", "#10": "\n" };
  return text.replaceAll(/&(#?\w+);/g, (whole, name: string) => named[name] ?? whole);
}

function succeeds(command: string, args: readonly string[]): boolean {
  return spawnSync(command, args, { stdio: "ignore", timeout: 10_000 }).status === 0;
}
