import { mkdir, mkdtemp, readdir, rename, rm, utimes, writeFile } from "node:fs/promises";
import { createServer, type Server } from "node:net";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { makeSocketFolder, makeSocketFolderIn, SOCKET_NAME } from "../../../src/worker/socket-folders.ts";

let parent: string;
beforeEach(async () => {
  parent = await mkdtemp(join(tmpdir(), "lc-"));
});
afterEach(() => rm(parent, { recursive: true, force: true }));

async function listen(folder: string): Promise<Server> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(join(folder, SOCKET_NAME), resolve));
  return server;
}

/** What a killed server leaves: a socket that nobody listens on. */
async function leaveSocket(folder: string): Promise<void> {
  const server = await listen(folder);
  await rename(join(folder, SOCKET_NAME), join(folder, "kept"));
  await new Promise((resolve) => server.close(resolve));
  await rename(join(folder, "kept"), join(folder, SOCKET_NAME));
}

async function makeOld(
  name: string,
  fill: (path: string) => Promise<unknown> = () => Promise.resolve(),
): Promise<void> {
  const path = join(parent, name);
  await mkdir(path);
  await fill(path);
  // An hour old.
  await utimes(path, Date.now() / 1_000 - 3_600, Date.now() / 1_000 - 3_600);
}

describe("a server that starts", () => {
  it("removes the folders of servers that were killed", async () => {
    await makeOld("latentcast-dead01", leaveSocket);
    await makeOld("latentcast-dead02");
    const made = await makeSocketFolder(parent);
    expect(await readdir(parent)).toEqual([basename(made)]);
  });

  it("leaves every other folder alone: of a server that lives, that starts, and what is no server's", async () => {
    let alive: Server | undefined;
    await makeOld("latentcast-alive1", async (path) => {
      alive = await listen(path);
    });
    await makeOld("latentcast-other1", (path) => writeFile(join(path, "file"), ""));
    await makeOld("latentcast-other2", (path) => writeFile(join(path, SOCKET_NAME), ""));
    await makeOld("latentcast-test-dead01", leaveSocket);
    await mkdir(join(parent, "latentcast-young1"));
    const before = await readdir(parent);
    const made = await makeSocketFolder(parent);
    expect((await readdir(parent)).toSorted()).toEqual([...before, basename(made)].toSorted());
    alive?.close();
  });
});

describe("a temporary folder", () => {
  const long = (): string => join(parent, "x".repeat(95));

  it("that is missing or has too long a path is passed over for the next", async () => {
    await mkdir(long());
    const made = await makeSocketFolderIn([long(), join(parent, "missing"), parent]);
    expect(join(made, "..")).toBe(parent);
  });

  it("that serves no socket is named with its variable when there is no other", async () => {
    await mkdir(long());
    const tried = makeSocketFolderIn([long(), join(parent, "missing")]);
    await expect(tried).rejects.toThrow(/^TMPDIR: .*too long a path, .*missing cannot be used \(ENOENT\)$/);
  });
});
