/** Docker Compose, as a plug-in of the `docker` command or a program of its own, on one project of a test. */
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { execa } from "execa";

const root = fileURLToPath(new URL("../..", import.meta.url));

export interface ComposeProject extends AsyncDisposable {
  /** Runs a command of Compose in the project and resolves with its standard output. */
  run(...args: readonly string[]): Promise<string>;
  /** Where a service's port was published, as a URL. */
  url(service: string, port: number): Promise<string>;
}

interface ComposeOptions {
  readonly project: string;
  /** Path from the root of the repository. */
  readonly file: string;
  /** What the test changes in it. */
  readonly override: object;
  readonly env?: Readonly<Record<string, string>>;
}

/** Undefined without Docker Compose. Disposing of the project removes its containers, networks and volumes. */
export async function openCompose(options: ComposeOptions): Promise<ComposeProject | undefined> {
  const program = await findCompose();
  if (program === undefined) return undefined;
  const [command, ...first] = program;
  const folder = await mkdtemp(join(tmpdir(), "latentcast-compose-"));
  const override = join(folder, "override.yaml");
  await writeFile(override, JSON.stringify(options.override));
  const files = ["-p", options.project, "-f", join(root, options.file), "-f", override];
  const run = async (...args: readonly string[]): Promise<string> => {
    // Ports that nobody else has.
    const { stdout } = await execa(command, [...first, ...files, ...args], {
      env: { LATENTCAST_PORT: "0", ...options.env },
    });
    return stdout;
  };
  return {
    run,
    url: async (service, port) => `http://${await run("port", service, String(port))}`,
    async [Symbol.asyncDispose]() {
      await run("down", "--volumes", "--timeout", "10");
      await rm(folder, { recursive: true });
    },
  };
}

async function findCompose(): Promise<readonly [string, ...string[]] | undefined> {
  for (const program of [["docker", "compose"], ["docker-compose"]] as const) {
    const [command, ...first] = program;
    const { failed } = await execa(command, [...first, "version"], { reject: false });
    if (!failed) return program;
  }
  return undefined;
}
