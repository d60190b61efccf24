import { execFileSync } from "node:child_process";

/** Commands running on this machine whose arguments name the path. */
export function processesAt(path: string): string[] {
  const listed = execFileSync("ps", ["-eo", "args"], { encoding: "utf8" });
  return listed.split("\n").filter((line) => line.includes(path));
}
