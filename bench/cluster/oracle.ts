/**
 * What a central scheduler would reach that knows everything at once: single processes without a fleet around them, and each job goes to
 * the device on which it would end first. No fleet can know that much; how far it is from this is what C5 says.
 */
import type { Settings } from "../lib/figures.ts";
import { arrive, type Arrivals } from "../lib/arrivals.ts";
import { monotonicSeconds, startStubServer, type StubServer } from "../lib/servers.ts";
import type { StreamTimes } from "../lib/stream-client.ts";
import { draw, STEP_MS, STEPS } from "./jobs.ts";

interface Device {
  readonly server: StubServer;
  /** One job alone. */
  readonly jobSeconds: number;
  /** When it will have done all that it has. */
  freeAt: number;
  held: number;
}

/** @param jobSeconds What a job takes of a device at speed 1. */
export async function underOracle(
  settings: Settings,
  {
    speeds,
    jobSeconds,
    arrivals,
  }: { readonly speeds: readonly number[]; readonly jobSeconds: number; readonly arrivals: Arrivals },
): Promise<StreamTimes[]> {
  const started = await Promise.all(speeds.map((speed) => startDevice(settings, STEP_MS / speed, jobSeconds)));
  try {
    return await arrive(arrivals, () => place(started));
  } finally {
    await Promise.all(started.map(({ server }) => server[Symbol.asyncDispose]()));
  }
}

async function startDevice(settings: Settings, stepMs: number, jobSeconds: number): Promise<Device> {
  const server = await startStubServer(settings, { stepMs });
  await draw(server);
  // Only steps take longer on a slow device.
  return { server, jobSeconds: jobSeconds + (STEPS * (stepMs - STEP_MS)) / 1_000, freeAt: 0, held: 0 };
}

async function place(devices: readonly Device[]): Promise<StreamTimes> {
  const now = monotonicSeconds();
  const endOn = ({ freeAt, jobSeconds }: Device): number => Math.max(now, freeAt) + jobSeconds;
  const best = devices.reduce((a, b) => (endOn(b) < endOn(a) ? b : a));
  best.freeAt = endOn(best);
  best.held += 1;
  const times = await draw(best.server);
  best.held -= 1;
  // It was faster, or slower, than what was counted on.
  if (best.held === 0) best.freeAt = monotonicSeconds();
  return times;
}
