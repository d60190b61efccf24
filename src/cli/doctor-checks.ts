/** The checks apart from Python and the GPU. */
import { statfs } from "node:fs/promises";
import { createServer } from "node:net";
import { totalmem } from "node:os";

export interface Check {
  readonly name: string;
  /** `warn`: it runs, but not as well or not at once. */
  readonly state: "ok" | "warn" | "fail";
  readonly text: string;
  /** How to fix it; null when nothing has to be done. */
  readonly hint: string | null;
}

const OLDEST_NODE: readonly [number, number] = [20, 19];

export function ok(name: string, text: string): Check {
  return { name, state: "ok", text, hint: null };
}

export function warn(name: string, text: string, hint: string | null): Check {
  return { name, state: "warn", text, hint };
}

export function fail(name: string, text: string, hint: string): Check {
  return { name, state: "fail", text, hint };
}

export function checkNode(version: string = process.versions.node): Check {
  const [major = 0, minor = 0] = version.split(".").map(Number);
  const isNew = major > OLDEST_NODE[0] || (major === OLDEST_NODE[0] && minor >= OLDEST_NODE[1]);
  return isNew ? ok("Node", version) : fail("Node", version, `install Node ${OLDEST_NODE.join(".")} or newer`);
}

/** Whether the module that owns a native library loads. */
export async function checkNative(name: string, load: () => Promise<unknown>): Promise<Check> {
  try {
    await load();
    return ok(name, "loads");
  } catch (error) {
    const [reason = ""] = (error instanceof Error ? error.message : String(error)).split("\n");
    return fail(name, `does not load (${reason})`, "run `npm ci` again on this machine");
  }
}

/** fp32 SDXL on the CPU takes 14 GB and half as much on the way through the host to a GPU. */
const CPU_MEMORY_BYTES = 16 * 2 ** 30;
const HOST_MEMORY_BYTES = 8 * 2 ** 30;
/** fp16 SDXL at 1024 × 1024: 7 GB of weights and 2 GB for one image. */
const DEVICE_MEMORY_BYTES = 10 * 2 ** 30;

/** @param deviceBytes Memory of the smallest CUDA device, null without one. */
export function checkMemory(deviceBytes: number | null, hostBytes: number = totalmem()): Check {
  const text =
    deviceBytes === null ? gigabytes(hostBytes) : `${gigabytes(hostBytes)}, device ${gigabytes(deviceBytes)}`;
  if (deviceBytes !== null && deviceBytes < DEVICE_MEMORY_BYTES) {
    return warn("Memory", text, "SDXL at 1024 pixels needs about 10 GB on the device; smaller images need less");
  }
  const needed = deviceBytes === null ? CPU_MEMORY_BYTES : HOST_MEMORY_BYTES;
  if (hostBytes >= needed) return ok("Memory", text);
  return warn("Memory", text, `loading SDXL needs ${gigabytes(needed)}; the demo model needs 2 GB`);
}

export interface DiskNeed {
  readonly path: string;
  readonly needsBytes: number;
  readonly what: string;
}

export async function checkDisk(needs: readonly DiskNeed[]): Promise<Check> {
  const found = await Promise.all(
    needs.map(async (need) => {
      const { bavail, bsize } = await statfs(need.path);
      return { ...need, freeBytes: bavail * bsize };
    }),
  );
  const short = found.find(({ freeBytes, needsBytes }) => freeBytes < needsBytes);
  if (short !== undefined) {
    const text = `${gigabytes(short.freeBytes)} free in ${short.path}`;
    return fail("Disk", text, `free ${gigabytes(short.needsBytes)} for ${short.what}`);
  }
  return ok("Disk", `${gigabytes(Math.min(...found.map(({ freeBytes }) => freeBytes)))} free`);
}

export async function checkPort(host: string, port: number): Promise<Check> {
  const server = createServer();
  try {
    await new Promise<void>((resolve, reject) => {
      server.once("error", reject);
      server.listen({ host, port, exclusive: true }, resolve);
    });
    return ok("Port", port === 0 ? "any" : `${host}:${port} is free`);
  } catch (error) {
    const code = error instanceof Error && "code" in error ? String(error.code) : String(error);
    if (code === "EADDRINUSE") {
      return fail(
        "Port",
        `${host}:${port} is in use`,
        "stop the program that listens there, or choose another port with --port",
      );
    }
    return fail("Port", `${host}:${port} cannot be used (${code})`, "choose another address with --host and --port");
  } finally {
    server.close();
  }
}

export function gigabytes(bytes: number): string {
  return `${(bytes / 2 ** 30).toFixed(bytes < 10 * 2 ** 30 ? 1 : 0)} GB`;
}
