import { describe, expect, it } from "vitest";
import { SETTINGS } from "../../../src/config/settings.ts";
import { composeServices } from "../../support/deploy.ts";

const FILES = ["compose.yaml", "compose.cluster.yaml"];
const services = FILES.flatMap((file) =>
  Object.entries(composeServices(file)).map(([name, service]) => [`${file} ${name}`, service] as const),
);
const servers = services.filter(([, { environment = {} }]) => "LATENTCAST_ALLOW_ANONYMOUS" in environment);

describe("the compose files", () => {
  it.each(services)("%s is reached from this machine at most", (_name, { ports = [] }) => {
    for (const port of ports) expect(port).toMatch(/^127\.0\.0\.1:/);
  });

  it.each(servers)("%s sets only variables that the server reads", (_name, { environment = {} }) => {
    const known = new Set(Object.values(SETTINGS).flatMap(({ env }) => env));
    expect(Object.keys(environment).filter((name) => !known.has(name))).toEqual([]);
  });

  it("give a server longer than its drain takes", () => {
    const drainSeconds = Number(SETTINGS.drainTimeoutMs.default);
    const long = servers.filter(([, service]) => service.stop_grace_period !== undefined);
    expect(long.length).toBeGreaterThan(0);
    for (const [, service] of long) expect(parseInt(service.stop_grace_period ?? "", 10)).toBeGreaterThan(drainSeconds);
  });

  it("publish one port of a fleet, the one in front of its gateways", () => {
    const published = Object.entries(composeServices("compose.cluster.yaml")).filter(
      ([, { ports }]) => ports !== undefined,
    );
    expect(published.map(([name]) => name)).toEqual(["proxy"]);
  });
});
