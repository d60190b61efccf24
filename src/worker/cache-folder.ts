/** The cache that workers write to. It holds nothing that cannot be measured or compiled again, so a start never fails for it. */
import { rmSync } from "node:fs";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

/**
 * The folder itself where it can be written, else a new one in the temporary folder that is removed when this process ends.
 * `warn` is then called with one line.
 */
export async function usableCacheFolder(configured: string, warn: (text: string) => void): Promise<string> {
  const probe = join(configured, `.latentcast-${process.pid}`);
  try {
    await mkdir(configured, { recursive: true });
    // By trying: permissions say nothing about read-only mounts and full disks.
    await writeFile(probe, "");
    await rm(probe, { force: true });
    return configured;
  } catch (error) {
    const code = error instanceof Error && "code" in error ? String(error.code) : String(error);
    const temporary = await mkdtemp(join(tmpdir(), "latentcast-cache-"));
    process.once("exit", () => rmSync(temporary, { recursive: true, force: true }));
    warn(`LATENTCAST_CACHE_DIR: ${configured} cannot be written (${code}); calibrations are repeated at each start`);
    return temporary;
  }
}
