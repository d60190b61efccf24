/** Whether NATS servers write to the disk before they answer, as far as their pages for operators tell. */
import { z } from "zod";

/** Where servers have these pages unless configured otherwise. */
const MONITOR_PORT = 8_222;
const ANSWER_MS = 1_500;

const jsz = z.object({
  config: z.object({ sync_always: z.boolean().optional(), sync_interval: z.number().optional() }),
});

/**
 * One sentence for each server that says so, and for each page that was asked for and cannot be read; nothing about pages that were only
 * tried.
 */
export async function laxServers(urls: readonly string[], monitors?: readonly string[]): Promise<string[]> {
  const pages = monitors ?? urls.map(monitorOf);
  const found = await Promise.all(pages.map((page) => laxity(page, monitors !== undefined)));
  return found.filter((sentence) => sentence !== undefined);
}

function monitorOf(url: string): string {
  const { hostname } = new URL(url.includes("://") ? url : `nats://${url}`);
  return `http://${hostname}:${MONITOR_PORT}`;
}

async function laxity(page: string, isAskedFor: boolean): Promise<string | undefined> {
  try {
    const response = await fetch(new URL("/jsz", page), { signal: AbortSignal.timeout(ANSWER_MS) });
    const { config } = jsz.parse(await response.json());
    if (config.sync_always === true) return undefined;
    const seconds = (config.sync_interval ?? 0) / 1e9;
    return `the NATS server at ${page} may lose what it confirmed in the last ${seconds} s when its machine fails: set sync_interval to always`;
  } catch {
    return isAskedFor ? `--monitor: ${page} is no NATS server's page for operators, or does not answer` : undefined;
  }
}
