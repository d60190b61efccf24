/**
 * The project as it is committed, or would be, in a folder of its own. testcontainers reads the whole folder that it builds an image from,
 * and in the project's own other tests make and remove theirs meanwhile.
 */
import { cp, mkdtemp, rm } from "node:fs/promises";
import { existsSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { execa } from "execa";

const root = fileURLToPath(new URL("../..", import.meta.url));

export interface BuildContext extends AsyncDisposable {
  readonly folder: string;
}

export async function openBuildContext(): Promise<BuildContext> {
  const folder = await mkdtemp(join(tmpdir(), "latentcast-context-"));
  const { stdout } = await execa("git", ["ls-files", "-z", "--cached", "--others", "--exclude-standard"], {
    cwd: root,
  });
  const files = stdout.split("\0").filter((file) => file !== "" && existsSync(join(root, file)));
  for (const file of files) await cp(join(root, file), join(folder, file));
  return { folder, [Symbol.asyncDispose]: () => rm(folder, { recursive: true, force: true }) };
}
