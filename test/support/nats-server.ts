/** One NATS server for all files of a Vitest project, each of which makes streams of its own on it. */
import type { TestProject } from "vitest/node";
import { NatsCluster } from "./nats-cluster.ts";

declare module "vitest" {
  interface ProvidedContext {
    /** As LATENTCAST_NATS_URL takes it. */
    readonly natsUrl: string;
  }
}

export async function setup({ provide }: TestProject): Promise<() => Promise<void>> {
  const server = await NatsCluster.start({ size: 1 });
  provide("natsUrl", server.url);
  return () => server[Symbol.asyncDispose]();
}
