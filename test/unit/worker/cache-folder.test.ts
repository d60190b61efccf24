import { mkdir, mkdtemp, readdir, rename, rm, stat, symlink, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { makeTemporaryCache, usableCacheFolder } from "../../../src/worker/cache-folder.ts";

let parent: string;
beforeEach(async () => {
  parent = await mkdtemp(join(tmpdir(), "lc-"));
});
afterEach(() => rm(parent, { recursive: true, force: true }));

/** A folder as a killed process leaves it: its socket is there, and nobody listens. */
async function leave(name: string): Promise<void> {
  const folder = join(parent, name);
  await mkdir(join(folder, "kernels"), { recursive: true });
  await writeFile(join(folder, "kernels", "step"), "x");
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(join(folder, "made"), resolve));
  await rename(join(folder, "made"), join(folder, "owner"));
  await new Promise((resolve) => server.close(resolve));
}

describe("a cache in the temporary folder", () => {
  it("is the user's alone, and removes those of processes that were killed, with all that is in them", async () => {
    await leave("latentcast-cache-aaaaaa");
    const folder = await makeTemporaryCache(parent);
    expect(await readdir(parent)).toEqual([basename(folder)]);
    expect((await stat(folder)).mode & 0o777).toBe(0o700);
  });

  it("leaves those alone whose process lives, and whatever is no such folder", async () => {
    const first = await makeTemporaryCache(parent);
    await mkdir(join(parent, "latentcast-cache-bbbbbb"));
    await writeFile(join(parent, "latentcast-cache-cccccc"), "");
    await mkdir(join(parent, "latentcast-cache-dddddd"));
    await writeFile(join(parent, "latentcast-cache-dddddd", "owner"), "no socket");
    await leave("somebody-elses-cache");
    await symlink(join(parent, "somebody-elses-cache"), join(parent, "latentcast-cache-eeeeee"));
    const before = await readdir(parent);
    expect(await readdir(parent)).toContain(basename(first));
    const second = await makeTemporaryCache(parent);
    expect((await readdir(parent)).toSorted()).toEqual([...before, basename(second)].toSorted());
    expect(await readdir(join(parent, "somebody-elses-cache"))).toContain("owner");
  });

  it("is made where the path is too long for a socket as well", async () => {
    const long = join(parent, "x".repeat(100));
    await mkdir(long);
    expect(await readdir(await makeTemporaryCache(long))).toEqual([]);
  });

  it("is used only where the one that is named cannot be written", async () => {
    const warnings: string[] = [];
    const named = join(parent, "named");
    expect(await usableCacheFolder(named, (text) => warnings.push(text))).toBe(named);
    expect(warnings).toEqual([]);
    expect(await usableCacheFolder("/dev/null/cache", (text) => warnings.push(text))).toContain("latentcast-cache-");
    expect(warnings).toEqual([expect.stringMatching(/^LATENTCAST_CACHE_DIR: \/dev\/null\/cache cannot be written/)]);
  });
});
