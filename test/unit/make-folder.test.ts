import { mkdtemp, rm, stat, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import { makeFolder } from "../../src/make-folder.ts";

let parent: string;
beforeEach(async () => {
  parent = await mkdtemp(join(tmpdir(), "lc-"));
});
afterEach(() => rm(parent, { recursive: true, force: true }));

it("a folder is made with its parents, in the mode that was asked for, and stays as it is when it is there", async () => {
  const folder = join(parent, "a", "b", "c");
  await makeFolder(folder, 0o700);
  await writeFile(join(folder, "kept"), "");
  await makeFolder(folder);
  for (const path of [folder, join(parent, "a")]) expect((await stat(path)).mode & 0o777).toBe(0o700);
  expect((await stat(join(folder, "kept"))).isFile()).toBe(true);
});

it("a folder that several make at once is there for each of them", async () => {
  const folder = join(parent, "a", "b");
  await Promise.all(Array.from({ length: 8 }, () => makeFolder(folder)));
  expect((await stat(folder)).isDirectory()).toBe(true);
});

it("a link to a folder is a folder", async () => {
  await symlink(parent, join(parent, "link"));
  await makeFolder(join(parent, "link", "a"));
  await makeFolder(join(parent, "link"));
  expect((await stat(join(parent, "a"))).isDirectory()).toBe(true);
});

it("a file in the way is an error, and so is a link that leads nowhere", async () => {
  await writeFile(join(parent, "file"), "");
  await symlink(join(parent, "nowhere"), join(parent, "link"));
  await expect(makeFolder(join(parent, "file"))).rejects.toMatchObject({ code: "EEXIST" });
  await expect(makeFolder(join(parent, "file", "a", "b"))).rejects.toMatchObject({ code: "ENOTDIR" });
  await expect(makeFolder(join(parent, "link"))).rejects.toMatchObject({ code: "EEXIST" });
});

it.runIf(process.platform === "linux").each(["/proc/self/a", "/proc/nowhere/a/b", "/proc/self/fd/a", "/proc/sys/a"])(
  "%s, where the kernel makes no folders, is an error",
  async (path) => {
    await expect(makeFolder(path)).rejects.toMatchObject({ code: "ENOENT" });
  },
);
