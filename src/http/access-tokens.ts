/**
 * Short-lived permission to use one model in place of an API key, for pages that must not hold the key: they put it into the address of a
 * socket or stream. Nothing is kept: what it permits stands in it, signed.
 */
import { createHmac, timingSafeEqual } from "node:crypto";
import { z } from "zod";
import { modelName } from "../dialects/model-name.ts";

const grant = z.object({
  /** Names of models, aliases alone, or paths. */
  apps: z.array(z.string()),
  /** Whose limits what it opens counts against. */
  caller: z.string(),
  /** By the wall clock, which every server has. */
  expiresAtMs: z.number(),
});

export type Grant = z.infer<typeof grant>;

export class AccessTokens {
  readonly #secret: Buffer;

  constructor(secret: Buffer) {
    this.#secret = secret;
  }

  sign(granted: Grant): string {
    const text = Buffer.from(JSON.stringify(granted)).toString("base64url");
    return `${text}.${this.#signature(text).toString("base64url")}`;
  }

  /** Whose token it is. Undefined unless it was given out here, is still good, and is for what is at `path`. */
  holder(token: string, path: string, nowMs: number): string | undefined {
    const [text = "", signature = ""] = token.split(".");
    const given = Buffer.from(signature, "base64url");
    const expected = this.#signature(text);
    if (given.byteLength !== expected.byteLength || !timingSafeEqual(given, expected)) return undefined;
    const { apps, caller, expiresAtMs } = grant.parse(JSON.parse(Buffer.from(text, "base64url").toString()));
    return nowMs < expiresAtMs && apps.some((app) => isFor(app, path)) ? caller : undefined;
  }

  #signature(text: string): Buffer {
    return createHmac("sha256", this.#secret).update(text).digest();
  }
}

/** fal's clients ask for the alias alone: what follows the owner in `owner/alias`. Of a path without a model it is the last part. */
function isFor(app: string, path: string): boolean {
  const name = modelName(path) ?? partsOf(path).at(-1) ?? "";
  const asked = partsOf(app).join("/");
  return asked === name || asked === name.split("/").at(-1) || asked === partsOf(path).join("/");
}

function partsOf(path: string): string[] {
  return path.split("/").filter((part) => part !== "");
}
