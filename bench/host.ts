/** What the host adds around the device: the whole request (P1), its tail (P7), and how fast a cancelled one frees the device. */
import { figure, interleave, median, type Figure, type Settings } from "./lib/figures.ts";
import { startBareLoop, startProgram } from "./lib/processes.ts";
import { monotonicSeconds, startStubServer, type StubServer } from "./lib/servers.ts";
import { stream } from "./lib/stream-client.ts";

const STEP_MS = 30;
const STEPS = 30;
const BODY = { prompt: "a", num_inference_steps: STEPS, preview: false };

export async function host(settings: Settings): Promise<Figure[]> {
  await using server = await startStubServer(settings, { stepMs: STEP_MS });
  await using bare = await startBareLoop(settings.python);
  await using plain = await startProgram("bare-server.ts", {});
  const { bytes } = await stream(server.url, BODY);
  await stream(plain.url, { bytes });
  server.takeTrace();
  const tailsMs: number[] = [];
  const whole = await interleave(
    settings.repeats,
    async () => {
      const { posted, ended } = await stream(server.url, BODY);
      tailsMs.push((ended - lastStepEnd(server)) * 1_000);
      return ended - posted;
    },
    async () => {
      const device = await bare.run(`picture ${STEPS}`);
      const { posted, ended } = await stream(plain.url, { bytes });
      return { device, client: ended - posted };
    },
  );
  const work = `bare loop, ${STEPS} steps of ${STEP_MS} ms and the decode`;
  const clientMs = median(whole.map(({ b }) => b.client * 1_000));
  const naive: number[] = [];
  for (let repeat = 0; repeat < settings.repeats; repeat += 1) naive.push((await bare.run("naive-tail")) * 1_000);
  // The decode itself sleeps 20 ms in both; what is compared is everything after it.
  const encode = tailsMs.map((tail) => tail - 20);
  return [
    figure(
      {
        id: "P1",
        what: "request, previews off",
        unit: "×",
        gate: { most: 1.03 },
        note: `${work}, and ${clientMs.toFixed(1)} ms until a bare server's event of that size is read`,
      },
      whole.map(({ a, b }) => a / (b.device + b.client)),
    ),
    figure(
      { id: "P1", what: "request, previews off, beside the device alone", unit: "×", note: work },
      whole.map(({ a, b }) => a / b.device),
    ),
    figure(
      {
        id: "P7",
        what: "tail: last step to result at the client",
        unit: "steps",
        gate: { most: 2 },
        note: `steps of ${STEP_MS} ms; decode of 20 ms included`,
      },
      tailsMs.map((tail) => tail / STEP_MS),
    ),
    figure(
      {
        id: "P7",
        what: "naive encode (fp32, PIL, PNG 6) ÷ ours",
        unit: "×",
        gate: { least: 3 },
        note: `${median(naive).toFixed(0)} ms ÷ ${median(encode).toFixed(0)} ms at 1024 px`,
      },
      naive.map((value, index) => value / (encode[index] ?? Number.NaN)),
    ),
    await cancelling(settings, server),
  ];
}

async function cancelling({ repeats }: Settings, server: StubServer): Promise<Figure> {
  const idleMs: number[] = [];
  for (let repeat = 0; repeat < repeats; repeat += 1) {
    const body = { ...BODY, num_inference_steps: 50, preview: { every: 1, decoder: "linear" } };
    const { ended } = await stream(server.url, body, { leaveAfterPreviews: 3 + repeat });
    // Asking costs a millisecond, which counts against us.
    while ((await server.stats()).inFlight > 0);
    idleMs.push((monotonicSeconds() - ended) * 1_000);
  }
  return figure(
    {
      id: "cancel",
      what: "client gone to device idle",
      unit: "ms",
      gate: { most: STEP_MS + 50 },
      note: `one step of ${STEP_MS} ms + 50 ms`,
    },
    idleMs,
  );
}

function lastStepEnd(server: StubServer): number {
  return server.takeTrace().at(-1)?.ended ?? Number.NaN;
}
