/**
 * Beside the plain form of such a server (one thread a request on a shared pipeline, previews in the step callback): the same model
 * folder, the same machine, the same run. LATENTCAST_BENCH_BASELINE names the folder of its `naive_app.py`.
 */
import { spawn, spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { figure, interleave, median, missing, type Figure, type Settings } from "./lib/figures.ts";
import { freePort, keep, pinned, root, scratchFolder } from "./lib/processes.ts";
import { startModelServer } from "./lib/servers.ts";
import { stream, type StreamTimes } from "./lib/stream-client.ts";

const BODY = { prompt: "a lighthouse at dusk", width: 256, height: 256, num_inference_steps: 10, seed: 1 };
const START_PATIENCE_MS = 180_000;
/** A stream that is silent for this long has hung: a whole picture takes a few seconds. */
const SILENCE_MS = 15_000;

export async function baseline(settings: Settings): Promise<Figure[]> {
  const folder = process.env["LATENTCAST_BENCH_BASELINE"] ?? "";
  if (folder === "" || !existsSync(join(folder, "naive_app.py"))) {
    return [missing("plain", "not measured", "no naive_app.py; name its folder in LATENTCAST_BENCH_BASELINE")];
  }
  const model = tinyModel(settings.python);
  await using ours = await startModelServer(settings, model);
  await using plain = await startPlain(settings.python, folder, model);
  const figures: Figure[] = [];
  await stream(ours.url, BODY);
  await stream(plain.url, BODY, { timeoutMs: SILENCE_MS });
  const solo = await interleave(
    settings.repeats,
    () => stream(ours.url, BODY),
    () => stream(plain.url, BODY, { timeoutMs: SILENCE_MS }),
  );
  const ratio = (of: (times: StreamTimes) => number): number[] => solo.map(({ a, b }) => of(a) / of(b));
  const note = "the plain server; tiny model, 256 px, 10 steps, previews every fifth";
  figures.push(
    figure({ id: "plain", what: "first preview, one request", unit: "×", note }, ratio(firstSeconds)),
    figure({ id: "plain", what: "whole picture, one request", unit: "×", note }, ratio(wholeSeconds)),
  );
  // The plain server may not survive these, so it comes second and is not asked again.
  for (const count of settings.quick ? [4] : [4, 8]) {
    const ourTimes = await together(ours.url, count);
    const plainTimes = await together(plain.url, count);
    figures.push(...concurrent(count, ourTimes, plainTimes));
  }
  return figures;
}

function concurrent(count: number, ours: readonly Outcome[], plain: readonly Outcome[]): Figure[] {
  const finished = (outcomes: readonly Outcome[]): StreamTimes[] =>
    outcomes.filter((outcome): outcome is StreamTimes => !(outcome instanceof Error));
  const good = finished(ours);
  const theirs = finished(plain);
  const reasons = new Set(plain.filter((outcome) => outcome instanceof Error).map(({ message }) => message));
  const broken =
    theirs.length === count
      ? ""
      : `the plain server finished ${theirs.length} of ${count} (${[...reasons].join("; ")})`;
  const rows = [
    figure(
      {
        id: "plain",
        what: `${count} at once: finished by us`,
        unit: "",
        gate: { least: count },
        note: broken || `the plain server: all ${count}`,
      },
      [good.length],
    ),
    figure(
      {
        id: "plain",
        what: `${count} at once: median first preview`,
        unit: "s",
        note:
          theirs.length === 0
            ? "the plain server: none"
            : `the plain server: ${median(theirs.map(firstSeconds)).toFixed(2)} s of those that finished`,
      },
      [median(good.map(firstSeconds))],
    ),
    figure(
      {
        id: "plain",
        what: `${count} at once: median whole picture`,
        unit: "s",
        note:
          theirs.length === 0
            ? "the plain server: none"
            : `the plain server: ${median(theirs.map(wholeSeconds)).toFixed(2)} s of those that finished`,
      },
      [median(good.map(wholeSeconds))],
    ),
  ];
  return rows;
}

function firstSeconds({ posted, firstPreview = Number.NaN }: StreamTimes): number {
  return firstPreview - posted;
}

function wholeSeconds({ posted, ended }: StreamTimes): number {
  return ended - posted;
}

type Outcome = StreamTimes | Error;

async function together(url: string, count: number): Promise<Outcome[]> {
  const asked = Array.from({ length: count }, (_, index) =>
    stream(url, { ...BODY, seed: index }, { timeoutMs: SILENCE_MS }),
  );
  const settled = await Promise.allSettled(asked);
  return settled.map((outcome): Outcome => {
    if (outcome.status === "rejected")
      return outcome.reason instanceof Error ? outcome.reason : new Error(String(outcome.reason));
    // Steps 0, 5 and the picture: a stream that ends with less has lost something.
    return outcome.value.previews + Number(outcome.value.isComplete) < 3 ? new Error("ended early") : outcome.value;
  });
}

function tinyModel(python: string): string {
  const made = spawnSync(python, ["-m", "latentcast_worker.tiny_sdxl", scratchFolder()], {
    env: pinned({ PYTHONPATH: join(root, "python") }),
    encoding: "utf8",
    timeout: START_PATIENCE_MS,
  });
  const folder = made.stdout.trim().split("\n").at(-1) ?? "";
  if (made.status !== 0 || folder === "") throw new Error("the tiny model could not be made");
  return folder;
}

async function startPlain(
  python: string,
  folder: string,
  model: string,
): Promise<AsyncDisposable & { readonly url: string }> {
  const port = await freePort();
  const child = keep(
    spawn(python, ["-m", "uvicorn", "naive_app:app", "--port", String(port), "--log-level", "critical"], {
      cwd: folder,
      env: pinned({ MODEL: model, TAE: join(model, "tiny_vae"), PYTHONDONTWRITEBYTECODE: "1" }),
      stdio: "ignore",
    }),
  );
  const url = `http://127.0.0.1:${port}`;
  const endsAt = performance.now() + START_PATIENCE_MS;
  while (
    !(await fetch(`${url}/openapi.json`).then(
      ({ ok }) => ok,
      () => false,
    ))
  ) {
    if (child.exitCode !== null) throw new Error("the plain server ended: install bench/requirements.txt");
    if (performance.now() > endsAt) throw new Error("the plain server did not come up");
    await pause(100);
  }
  return {
    url,
    // After a failed request it does not stop on SIGTERM any more.
    [Symbol.asyncDispose]: async () => {
      child.kill("SIGKILL");
      if (child.exitCode === null && child.signalCode === null) await new Promise((ended) => child.once("exit", ended));
    },
  };
}
