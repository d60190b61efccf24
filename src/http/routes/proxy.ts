/** fal's proxy addresses. Reached only when the header names no address of fal's: every usable one has been rewritten to a path of ours. */
import type { FastifyInstance } from "fastify";
import { LatentcastError } from "../../errors.ts";
import { PROXY_PATHS } from "../fal-target.ts";

export function proxyRoutes(app: FastifyInstance): void {
  for (const path of PROXY_PATHS) {
    app.all(path, () => {
      throw new LatentcastError("bad_request", {
        message: "The header x-fal-target-url must name an https address of fal.",
      });
    });
  }
}
