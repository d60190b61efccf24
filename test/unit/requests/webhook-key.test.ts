import { mkdtemp, rm, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, it } from "vitest";
import { SigningKey } from "../../../src/requests/webhook-key.ts";

it("the signing key is readable by its owner only, and the same at every start", async () => {
  const dataDir = await mkdtemp(join(tmpdir(), "latentcast-key-"));
  try {
    const [first, second] = [await SigningKey.open(dataDir), await SigningKey.open(dataDir)];
    expect(second.publicKeys).toEqual(first.publicKeys);
    expect((await stat(join(dataDir, "webhook-key.pem"))).mode & 0o777).toBe(0o600);
  } finally {
    await rm(dataDir, { recursive: true, force: true });
  }
});
