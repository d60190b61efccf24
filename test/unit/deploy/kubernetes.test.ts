import { posix } from "node:path";
import { describe, expect, it } from "vitest";
import { z } from "zod";
import { SETTINGS } from "../../../src/config/settings.ts";
import { deployText, deployYaml, objectsIn, yamlFilesBelow } from "../../support/deploy.ts";

const FOLDERS = ["deploy/kubernetes", "deploy/kubernetes-cluster"];
const POOLS = "deploy/kubernetes-cluster/pools";

const Kustomization = z.looseObject({
  resources: z.array(z.string()),
  nameSuffix: z.string().optional(),
  labels: z.array(z.looseObject({ pairs: z.record(z.string(), z.string()) })).optional(),
});
const Container = z.looseObject({
  env: z.array(z.looseObject({ name: z.string(), value: z.string().optional() })),
  lifecycle: z.object({ preStop: z.object({ exec: z.object({ command: z.array(z.string()) }) }) }).optional(),
});
const Pod = z.looseObject({ terminationGracePeriodSeconds: z.number(), containers: z.tuple([Container]) });
const Deployment = z.looseObject({ spec: z.looseObject({ template: z.looseObject({ spec: Pod }) }) });
const InitPod = z.looseObject({ containers: z.tuple([z.looseObject({ args: z.array(z.string()) })]) });
const Job = z.looseObject({ spec: z.looseObject({ template: z.looseObject({ spec: InitPod }) }) });
const ScaledObject = z.looseObject({
  spec: z.looseObject({
    scaleTargetRef: z.object({ name: z.string() }),
    triggers: z.tuple([
      z.looseObject({ type: z.literal("prometheus"), metadata: z.looseObject({ query: z.string() }) }),
    ]),
  }),
});

/** What `kubectl apply -k FOLDER` reads. */
function applied(folder: string): readonly string[] {
  const file = `${folder}/kustomization.yaml`;
  const below = Kustomization.parse(deployYaml(file)).resources.map((resource) => posix.join(folder, resource));
  return [file, ...below.flatMap((path) => (path.endsWith(".yaml") ? [path] : applied(path)))];
}

const manifests = FOLDERS.flatMap(applied).filter((path) => !path.endsWith("kustomization.yaml"));
const deployments = manifests
  .flatMap(objectsIn)
  .filter(({ kind }) => kind === "Deployment")
  .map((object) => [object.metadata.name, Deployment.parse(object).spec.template.spec] as const);
const pools = yamlFilesBelow(POOLS)
  .filter((path) => path.endsWith("kustomization.yaml"))
  .map((path) => posix.dirname(path));

describe("the Kubernetes manifests", () => {
  it.each(FOLDERS)("of %s are all applied, apart from values for other charts", (folder) => {
    const files = yamlFilesBelow(folder).filter((path) => !path.endsWith("-values.yaml"));
    expect([...applied(folder)].sort()).toEqual(files);
  });

  it.each(manifests)("%s sets only variables that the server reads", (path) => {
    const known = new Set(Object.values(SETTINGS).flatMap(({ env }) => env));
    const set = deployText(path).match(/(?<=name: )LATENTCAST_[A-Z_]+/g) ?? [];
    expect(set.filter((name) => !known.has(name))).toEqual([]);
  });

  it.each(deployments)("the pods of %s live longer than their drain takes", (_name, pod) => {
    const [{ env, lifecycle }] = pod.containers;
    const drainSeconds = Number(env.find(({ name }) => name === "LATENTCAST_DRAIN_TIMEOUT_SECONDS")?.value);
    const [, sleepSeconds = "0"] = lifecycle?.preStop.exec.command ?? [];
    expect(pod.terminationGracePeriodSeconds).toBeGreaterThan(drainSeconds + Number(sleepSeconds));
  });

  it("a fleet is set up with the queue of every pool that it has", () => {
    const [job] = objectsIn("deploy/kubernetes-cluster/init.yaml").map((object) => Job.parse(object).spec);
    const [init] = job!.template.spec.containers;
    const names = pools.map((folder) => posix.basename(folder)).join(",");
    expect(init.args).toEqual(["cluster", "init", "--pool", names]);
  });

  it.each(pools)("%s scales its own nodes, by what waits and what is under way", (folder) => {
    const { nameSuffix, labels = [] } = Kustomization.parse(deployYaml(`${folder}/kustomization.yaml`));
    const [scaler] = objectsIn(`${folder}/scaler.yaml`).map((object) => ScaledObject.parse(object).spec);
    const pool = labels.map(({ pairs }) => pairs["latentcast/pool"]).join("");
    const query = scaler?.triggers[0].metadata.query;
    expect(pool).toBe(posix.basename(folder));
    expect(scaler?.scaleTargetRef.name).toBe(`latentcast-node${nameSuffix}`);
    expect(query).toContain(`pool="${pool}"`);
    expect(query).toMatch(/latentcast_cluster_waiting/);
    expect(query).toMatch(/latentcast_cluster_claimed/);
  });
});
