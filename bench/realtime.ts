/** Realtime sockets: what one adds to an image, what a stream of inputs leaves in the engine, and what idle ones cost. */
import { once } from "node:events";
import { WebSocket } from "ws";
import { figure, type Figure, type Settings } from "./lib/figures.ts";
import type { BenchServer } from "./lib/processes.ts";
import { startModelServer, startStubServer } from "./lib/servers.ts";

const STEPS = 4;
const INPUTS_PER_SECOND = 30;
const BURST_SECONDS = 2;
const IDLE_SOCKETS = 100;
/** Connections of one key beside one of another. */
const CROWD = 20;
const STUB_STEP_MS = 30;

interface Answer {
  readonly request_id: string;
  readonly timings?: { readonly inference: number };
  readonly action?: string;
}

export async function realtime(settings: Settings): Promise<Figure[]> {
  return [...(await onDemoModel(settings)), await fairness(settings)];
}

async function onDemoModel(settings: Settings): Promise<Figure[]> {
  await using server = await startModelServer(settings, "demo", { everyCore: true });
  const socket = await open(server);
  const draw = async (id: string): Promise<number> => {
    const began = performance.now();
    const answered = answerTo(socket, id);
    ask(socket, id);
    const { timings } = await answered;
    return performance.now() - began - (timings?.inference ?? Number.NaN) * 1_000;
  };
  await draw("warm");
  const beyond: number[] = [];
  for (let repeat = 0; repeat < settings.repeats * 4; repeat += 1) beyond.push(await draw(String(repeat)));

  const most: number[] = [];
  const last: number[] = [];
  for (let repeat = 0; repeat < settings.repeats; repeat += 1) {
    const burst = await sendBurst(server, socket);
    most.push(burst.most);
    last.push(burst.lastMs);
  }
  socket.close();

  const before = (await server.stats()).rssBytes;
  const idle = await Promise.all(Array.from({ length: IDLE_SOCKETS }, () => open(server)));
  const growth = ((await server.stats()).rssBytes - before) / 2 ** 20;
  for (const each of idle) each.close();

  const note = `demo model, ${STEPS} steps`;
  return [
    figure(
      {
        id: "realtime",
        what: "input to image, beyond steps, decode and encode",
        unit: "ms",
        gate: { most: 15 },
        note: `${note}: reading, the prompt, sending`,
      },
      beyond,
    ),
    figure(
      {
        id: "realtime",
        what: "jobs at once",
        unit: "",
        gate: { most: 2 },
        note: `${INPUTS_PER_SECOND} inputs a second`,
      },
      most,
    ),
    figure(
      { id: "realtime", what: "last of them, sent to drawn", unit: "ms", note: `${INPUTS_PER_SECOND} inputs a second` },
      last,
    ),
    figure(
      {
        id: "realtime",
        what: `${IDLE_SOCKETS} idle sockets`,
        unit: "MB",
        gate: { most: 20 },
        note: "resident memory of the server",
      },
      [growth],
    ),
  ];
}

async function sendBurst(server: BenchServer, socket: WebSocket): Promise<{ most: number; lastMs: number }> {
  const count = INPUTS_PER_SECOND * BURST_SECONDS;
  const id = crypto.randomUUID();
  const answered = answerTo(socket, `${id} ${count - 1}`);
  let most = 0;
  let sentAt = 0;
  for (let sent = 0; sent < count; sent += 1) {
    sentAt = performance.now();
    ask(socket, `${id} ${sent}`);
    most = Math.max(most, (await server.stats()).inFlight);
    await new Promise((resolve) => setTimeout(resolve, sentAt + 1_000 / INPUTS_PER_SECOND - performance.now()));
  }
  await answered;
  return { most, lastMs: performance.now() - sentAt };
}

/** Of one connection beside many of another key, and alone. */
async function fairness(settings: Settings): Promise<Figure> {
  await using server = await startStubServer(settings, {
    stepMs: STUB_STEP_MS,
    env: { LATENTCAST_API_KEYS: "one,many", LATENTCAST_MAX_BATCH: "1" },
  });
  const one = await open(server, "one");
  const times = async (): Promise<number[]> => {
    const taken: number[] = [];
    for (let repeat = 0; repeat < settings.repeats * 2; repeat += 1) {
      const began = performance.now();
      const answered = answerTo(one, String(began));
      ask(one, String(began));
      await answered;
      taken.push(performance.now() - began);
    }
    return taken;
  };
  const alone = await times();
  const crowd = await Promise.all(Array.from({ length: CROWD }, () => open(server, "many")));
  for (const [index, socket] of crowd.entries()) {
    socket.on("message", () => ask(socket, String(index)));
    ask(socket, String(index));
  }
  const beside = await times();
  for (const socket of [one, ...crowd]) socket.close();
  return figure(
    {
      id: "realtime",
      what: `beside ${CROWD} sockets of another key`,
      unit: "×",
      gate: { most: 2 },
      note: `simulated device, one image at a time; alone is 1, behind all of them ${CROWD + 1}`,
    },
    beside.map((ms, index) => ms / (alone[index] ?? Number.NaN)),
  );
}

async function open({ url }: BenchServer, key = "none"): Promise<WebSocket> {
  const headers = { authorization: `Key ${key}` };
  const socket = new WebSocket(`${url.replace("http", "ws")}/bench/demo/realtime`, { headers });
  await once(socket, "open");
  return socket;
}

function ask(socket: WebSocket, id: string): void {
  socket.send(JSON.stringify({ prompt: `a beautiful sunset ${id}`, num_inference_steps: STEPS, request_id: id }));
}

function answerTo(socket: WebSocket, id: string): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const read = (data: Buffer): void => {
      const answer = JSON.parse(data.toString()) as Answer;
      if (answer.request_id !== id) return;
      socket.off("message", read);
      if (answer.timings === undefined) reject(new Error(`no image: ${data.toString().slice(0, 200)}`));
      else resolve(answer);
    };
    socket.on("message", read);
  });
}
