/** What browsers may do with our answers. The playground is the only page: its own scripts and styles, images from its own bytes. */
import helmet from "@fastify/helmet";
import type { FastifyInstance } from "fastify";

export async function secureHeaders(app: FastifyInstance): Promise<void> {
  await app.register(helmet, {
    contentSecurityPolicy: {
      useDefaults: false,
      directives: {
        defaultSrc: ["'none'"],
        baseUri: ["'none'"],
        connectSrc: ["'self'"],
        fontSrc: ["'self'"],
        formAction: ["'none'"],
        frameAncestors: ["'none'"],
        // Previews and images are data: URIs; the page turns them into blobs to save memory.
        imgSrc: ["'self'", "data:", "blob:"],
        manifestSrc: ["'self'"],
        scriptSrc: ["'self'"],
        styleSrc: ["'self'"],
      },
    },
    // Pages elsewhere show finished images by their address, as they do with fal's.
    crossOriginResourcePolicy: { policy: "cross-origin" },
    // This server speaks plain HTTP; whether there is TLS in front of it is for that one to say.
    strictTransportSecurity: false,
  });
}
