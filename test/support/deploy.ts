/** The files that people deploy Latentcast with, as data. */
import { readdirSync, readFileSync } from "node:fs";
import { join, relative } from "node:path";
import { fileURLToPath } from "node:url";
import { parse, parseAllDocuments } from "yaml";
import { z } from "zod";

const root = fileURLToPath(new URL("../..", import.meta.url));

export function deployText(path: string): string {
  return readFileSync(join(root, path), "utf8");
}

export function deployYaml(path: string): unknown {
  return parse(deployText(path), { merge: true });
}

/** Every YAML file below a folder, with its path from the root of the repository. */
export function yamlFilesBelow(folder: string): readonly string[] {
  return readdirSync(join(root, folder), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && entry.name.endsWith(".yaml"))
    .map((entry) => relative(root, join(entry.parentPath, entry.name)))
    .sort();
}

const object = z.looseObject({
  kind: z.string(),
  metadata: z.looseObject({ name: z.string(), labels: z.record(z.string(), z.string()).optional() }),
});
export type KubernetesObject = z.infer<typeof object>;

/** The objects of a manifest. */
export function objectsIn(path: string): readonly KubernetesObject[] {
  return parseAllDocuments(deployText(path)).map((document) => object.parse(document.toJS()));
}

const seconds = z.string().regex(/^\d+s$/);
const service = z.looseObject({
  ports: z.array(z.string()).optional(),
  stop_grace_period: seconds.optional(),
  environment: z.record(z.string(), z.string()).optional(),
  volumes: z.array(z.string()).optional(),
});

/** The services of a compose file, by name. */
export function composeServices(path: string): Readonly<Record<string, z.infer<typeof service>>> {
  return z.looseObject({ services: z.record(z.string(), service) }).parse(deployYaml(path)).services;
}
