import { describe, expect, it } from "vitest";
import { z } from "zod";
import { Layout } from "../../../src/cluster/layout.ts";
import { deployText, deployYaml } from "../../support/deploy.ts";

const Values = z.looseObject({
  config: z.looseObject({
    cluster: z.looseObject({ replicas: z.number() }),
    jetstream: z.looseObject({
      memoryStore: z.looseObject({ maxSize: z.string() }),
      fileStore: z.looseObject({ pvc: z.looseObject({ size: z.string() }) }),
      merge: z.looseObject({ sync_interval: z.string() }),
    }),
  }),
});

/** Bytes that the streams may take on each server. */
function reserved(storage: "file" | "memory"): number {
  const streams = new Layout().streamDefinitions.filter((stream) => stream.storage === storage);
  return streams.reduce((sum, { maxBytes }) => sum + maxBytes, 0);
}

function bytes(size: string | undefined): number {
  const [, number, unit = ""] = /^(\d+)([GM]i?B?)$/.exec(size ?? "") ?? [];
  const factor = unit.startsWith("G") ? 2 ** 30 : 2 ** 20;
  return Number(number) * factor;
}

describe("the NATS servers of compose.cluster.yaml", () => {
  const conf = deployText("deploy/cluster/nats.conf");
  const value = (name: string): string | undefined => new RegExp(`^\\s*${name}: (.+)$`, "m").exec(conf)?.[1];

  it("hold all that a fleet's streams may take", () => {
    expect(bytes(value("max_file"))).toBeGreaterThan(reserved("file"));
    expect(bytes(value("max_mem"))).toBeGreaterThan(reserved("memory"));
  });

  it("sync before they acknowledge", () => {
    expect(value("sync_interval")).toBe("always");
  });
});

describe("the values for NATS's chart", () => {
  const { cluster, jetstream } = Values.parse(deployYaml("deploy/kubernetes-cluster/nats-values.yaml")).config;

  it("hold all that a fleet's streams may take", () => {
    expect(bytes(jetstream.fileStore.pvc.size)).toBeGreaterThan(reserved("file"));
    expect(bytes(jetstream.memoryStore.maxSize)).toBeGreaterThan(reserved("memory"));
  });

  it("ask for three servers that sync before they acknowledge", () => {
    expect(cluster.replicas).toBe(3);
    expect(jetstream.merge.sync_interval).toBe("always");
  });
});
