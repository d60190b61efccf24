/**
 * What images are built from, by .dockerignore, in a folder of its own. testcontainers looks through the whole folder that it is given, and
 * in the project's own other tests make and remove files meanwhile.
 */
import { cp, mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("../..", import.meta.url));

export interface BuildContext extends AsyncDisposable {
  readonly folder: string;
}

export async function openBuildContext(): Promise<BuildContext> {
  const folder = await mkdtemp(join(tmpdir(), "latentcast-context-"));
  for (const path of ["Dockerfile", ".dockerignore", ...(await keptPaths())])
    await cp(join(root, path), join(folder, path), {
      recursive: true,
      filter: (from) => basename(from) !== "__pycache__",
    });
  return { folder, [Symbol.asyncDispose]: () => rm(folder, { recursive: true, force: true }) };
}

/** Those that .dockerignore, which leaves out everything, takes back in. */
async function keptPaths(): Promise<string[]> {
  const lines = (await readFile(join(root, ".dockerignore"), "utf8")).split("\n");
  const patterns = lines.filter((line) => line.startsWith("!")).map((line) => line.slice(1));
  const here = await readdir(root);
  return patterns.flatMap((pattern) => {
    if (!pattern.includes("*")) return [pattern];
    const name = new RegExp(`^${pattern.replaceAll(".", "\\.").replaceAll("*", ".*")}$`);
    return here.filter((entry) => name.test(entry));
  });
}
