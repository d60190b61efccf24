import { spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import { expect, it } from "vitest";

const root = fileURLToPath(new URL("../../..", import.meta.url));

/** Files of packages that a program has loaded when it ends, asked of Node itself. */
function loadedBy(program: string): string[] {
  const script = `
    import { register } from "node:module";
    import { createRequire } from "node:module";
    const seen = [];
    const { port1, port2 } = new MessageChannel();
    port1.on("message", (url) => seen.push(url)).unref();
    register("data:text/javascript," + encodeURIComponent(\`
      let port;
      export const initialize = (data) => { port = data.port; };
      export async function resolve(name, context, next) {
        const found = await next(name, context);
        port.postMessage(found.url);
        return found;
      }\`), { data: { port: port2 }, transferList: [port2] });
    ${program}
    await new Promise((resolve) => setTimeout(resolve, 200));
    console.log(JSON.stringify([...seen, ...Object.keys(createRequire(import.meta.url).cache)]));
    process.exit();`;
  const args = ["--import", "tsx", "--input-type=module", "--eval", script];
  const { stdout, stderr } = spawnSync(process.execPath, args, { cwd: root, encoding: "utf8", timeout: 60_000 });
  if (stdout === "") throw new Error(stderr);
  return JSON.parse(stdout.trim().split("\n").at(-1)!) as string[];
}

const ofFleets = (files: readonly string[]): string[] => files.filter((file) => /@nats-io|src\/cluster\//.test(file));

it("a server alone loads nothing of fleets", () => {
  const files = loadedBy(`await import("./src/runtime.ts"); await import("./src/cli/serve.ts");`);
  expect(files.some((file) => file.includes("node_modules/fastify/"))).toBe(true);
  expect(ofFleets(files)).toEqual([]);
});

it("a server of a fleet does", () => {
  const program = `
    const { openBus } = await import("./src/cluster/open-bus.ts");
    const { Layout } = await import("./src/cluster/layout.ts");
    const config = { natsUrls: ["127.0.0.1:1"], natsCreds: null, natsCa: null };
    await openBus({ config, layout: new Layout(), role: "server", warn: () => undefined }).catch(() => undefined);`;
  expect(ofFleets(loadedBy(program)).length).toBeGreaterThan(0);
});
