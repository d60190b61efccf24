/** The key that webhooks, and access tokens by way of {@link SigningKey.derive}, are signed with: made at the first start, kept in the data folder for its owner only. */
import {
  createHash,
  createPrivateKey,
  createPublicKey,
  generateKeyPairSync,
  hkdfSync,
  sign,
  type KeyObject,
} from "node:crypto";
import { readFile, rename, writeFile } from "node:fs/promises";
import { join } from "node:path";

/** A JSON Web Key Set with one Ed25519 key, as receivers of webhooks expect it. */
export interface KeySet {
  readonly keys: readonly [
    { readonly kty: "OKP"; readonly crv: "Ed25519"; readonly x: string; readonly kid: string; readonly use: "sig" },
  ];
}

export class SigningKey {
  readonly publicKeys: KeySet;
  readonly #key: KeyObject;

  private constructor(key: KeyObject) {
    this.#key = key;
    const { x = "" } = createPublicKey(key).export({ format: "jwk" });
    const kid = createHash("sha256").update(x).digest("base64url").slice(0, 16);
    this.publicKeys = { keys: [{ kty: "OKP", crv: "Ed25519", x, kid, use: "sig" }] };
  }

  static async open(dataDir: string): Promise<SigningKey> {
    const path = join(dataDir, "webhook-key.pem");
    const pem = await readFile(path, "utf8").catch(async (error: unknown) => {
      if (!(error instanceof Error && "code" in error && error.code === "ENOENT")) throw error;
      const made = SigningKey.newPem();
      // Renamed when complete: half a key would be refused at each start.
      await writeFile(`${path}.part`, made, { mode: 0o600 });
      await rename(`${path}.part`, path);
      return made;
    });
    return SigningKey.of(pem);
  }

  /** @param pem As {@link newPem} makes it. */
  static of(pem: string): SigningKey {
    return new SigningKey(createPrivateKey(pem));
  }

  static newPem(): string {
    return generateKeyPairSync("ed25519").privateKey.export({ type: "pkcs8", format: "pem" }).toString();
  }

  /** 32 bytes that are secret too, and different for each purpose. */
  derive(purpose: string): Buffer {
    const secret = this.#key.export({ type: "pkcs8", format: "der" });
    return Buffer.from(hkdfSync("sha256", secret, "", purpose, 32));
  }

  /** Hex. */
  sign(message: string): string {
    return sign(null, Buffer.from(message), this.#key).toString("hex");
  }
}
