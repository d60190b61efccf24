import { describe, expect, it, vi } from "vitest";
import { RealtimeSession, type SessionOptions } from "../../../../src/http/realtime/session.ts";
import { LatentcastError } from "../../../../src/errors.ts";
import { InputMemory } from "../../../../src/images/input-memory.ts";
import { InputReader } from "../../../../src/images/source.ts";
import { CallerTurns } from "../../../../src/jobs/caller-turns.ts";
import { jobService } from "../../../support/memory-service.ts";
import { MemorySocket } from "../../../support/realtime-socket.ts";

async function connected(options: Partial<SessionOptions> = {}) {
  const service = await jobService();
  const { worker, jobs, eventually } = service;
  worker.hello(2);
  worker.ready();
  const socket = new MemorySocket();
  const session = new RealtimeSession(socket, {
    jobs,
    inputReader: new InputReader({ memory: new InputMemory(2 ** 30), readFile: () => Promise.resolve(undefined) }),
    turns: new CallerTurns(() => 1),
    begin: () => () => undefined,
    onSuperseded: () => undefined,
    caller: "a",
    places: 1,
    maxWaitingBytes: 2 ** 20,
    messagesPerSecond: null,
    idleMs: Number.POSITIVE_INFINITY,
    ...options,
  });
  const ended = session.run();
  /** Waits for the worker to have been given so many jobs; gives the last one's id. */
  const given = async (count: number): Promise<string> => {
    await eventually(() => expect(worker.jobs).toHaveLength(count));
    return worker.jobs.at(-1)!;
  };
  return { ...service, socket, session, ended, given };
}

const ask = (request_id: string, fields: object = {}): object => ({ prompt: "x", seed: 1, request_id, ...fields });

describe("a realtime connection", () => {
  it("draws the newest of what came while one was drawn, and says what became of the others", async () => {
    const { socket, worker, given, eventually } = await connected();
    socket.say(ask("a"));
    const first = await given(1);
    for (const id of ["b", "c", "d"]) socket.say(ask(id));
    worker.start(first);
    worker.finish(first);
    worker.finish(await given(2));
    await eventually(() =>
      expect(socket.summary).toEqual(["b: superseded", "c: superseded", "a: result", "d: result"]),
    );
  });

  it("answers in the coding of the question, with bytes or data URIs; control messages are always text", async () => {
    const { socket, worker, given, eventually } = await connected();
    socket.say(ask("bytes"));
    worker.finish(await given(1));
    await eventually(() => expect(socket.received).toHaveLength(1));
    socket.text(JSON.stringify(ask("text")));
    worker.finish(await given(2));
    await eventually(() => expect(socket.received).toHaveLength(2));
    socket.say(ask("wrong", { seed: "x" }));
    const [bytes, text, wrong] = socket.received;
    expect(bytes).toMatchObject({
      isBinary: true,
      message: {
        request_id: "bytes",
        seed: 1,
        images: [{ content: expect.any(Uint8Array), content_type: "image/jpeg" }],
      },
    });
    expect(text).toMatchObject({
      isBinary: false,
      message: { request_id: "text", images: [{ url: expect.stringMatching(/^data:image\/jpeg;base64,/) }] },
    });
    expect(wrong).toMatchObject({
      isBinary: false,
      message: {
        type: "x-fal-error",
        error: "INVALID_INPUT",
        reason: expect.stringContaining("seed"),
        request_id: "wrong",
      },
    });
  });

  it("an input that is wrong takes nobody's place", async () => {
    const { socket, worker, given, eventually } = await connected();
    socket.say(ask("running"));
    const first = await given(1);
    socket.say(ask("waiting"));
    socket.say(ask("wrong", { num_inference_steps: 99 }));
    worker.finish(first);
    worker.finish(await given(2));
    await eventually(() =>
      expect(socket.summary).toEqual(["wrong: INVALID_INPUT", "running: result", "waiting: result"]),
    );
  });

  it("takes its turn where the newest input is drawn, not where the one before it would have been", async () => {
    const service = await jobService();
    const { jobs, worker, eventually } = service;
    worker.hello(2);
    worker.ready();
    const turns = new CallerTurns(() => 1);
    const pooled: SessionOptions["jobs"] = {
      poolOf: ({ input }) => input.model ?? "small",
      admit: (submission) => jobs.admit(submission),
      submit: (submission, admission) => jobs.submit(submission, admission),
      cancel: (job, reason) => jobs.cancel(job, reason),
    };
    const never = new AbortController().signal;
    const [small, big] = [
      await turns.take({ caller: "a", pool: "small" }, never),
      await turns.take({ caller: "a", pool: "big" }, never),
    ];
    const { socket } = await connected({ jobs: pooled, turns });
    const take = vi.spyOn(turns, "take");
    socket.say(ask("a"));
    await eventually(() => expect(take).toHaveBeenCalledTimes(1));
    socket.say(ask("b", { model: "big" }));
    small!.end();
    // It was given back, for the input that is next waits for the other pool.
    expect(await turns.take({ caller: "a", pool: "small" }, never)).toBeDefined();
    expect(worker.jobs).toEqual([]);
    big!.end();
    await eventually(() => expect(worker.jobs).toHaveLength(1));
  });

  it("shows previews to whoever asks for them", async () => {
    const { socket, worker, given, eventually } = await connected();
    socket.say(ask("a", { preview: true }));
    const id = await given(1);
    worker.start(id);
    worker.preview(id, 0);
    await eventually(() => expect(socket.summary).toEqual(["a: preview"]));
    worker.finish(id);
    await eventually(() => expect(socket.summary).toEqual(["a: preview", "a: result"]));
    expect(socket.received[0]!.message).toMatchObject({
      seed: 1,
      preview: { step: 0, total_steps: 20, progress: 0.05 },
    });
  });

  it("an input in the mode cancel ends the running one at its next step", async () => {
    const { socket, worker, given, eventually } = await connected();
    socket.say(ask("a"));
    const first = await given(1);
    worker.start(first);
    socket.say(ask("b", { mode: "cancel" }));
    await eventually(() => expect(worker.cancelled).toEqual([first]));
    worker.confirmCancel(first);
    worker.finish(await given(2));
    await eventually(() => expect(socket.summary).toEqual(["a: superseded", "b: result"]));
  });

  it("a client that leaves stops its work at the next step", async () => {
    const { socket, worker, given, eventually, ended } = await connected();
    socket.say(ask("a"));
    const id = await given(1);
    socket.say(ask("b"));
    socket.leave();
    await eventually(() => expect(worker.cancelled).toEqual([id]));
    await expect(ended).resolves.toBe(1_006);
    expect(worker.jobs).toHaveLength(1);
  });

  it("a worker that dies costs the running input a second run with its seed, and nothing else", async () => {
    const { socket, worker, workers, given, eventually } = await connected();
    socket.say(ask("a", { seed: undefined }));
    const id = await given(1);
    worker.die();
    await eventually(() => expect(workers.of(0)).not.toBe(worker));
    const next = workers.of(0);
    next.hello(2);
    next.ready();
    await eventually(() => expect(next.jobs).toEqual([id]));
    const seeds = [worker, next].map(({ received }) =>
      received.flatMap((each) => (each.type === "generate" ? [each.params.seed] : [])),
    );
    expect(seeds[0]).toEqual(seeds[1]);
    next.finish(id);
    await eventually(() => expect(socket.summary).toEqual(["a: result"]));
  });

  it("a reader that is slow gets one result at a time, and the newest input next", async () => {
    const { socket, worker, given, eventually } = await connected();
    socket.isSlow = true;
    socket.say(ask("a"));
    worker.finish(await given(1));
    await eventually(() => expect(socket.summary).toEqual(["a: result"]));
    for (const id of ["b", "c"]) socket.say(ask(id));
    expect(worker.jobs).toHaveLength(1);
    socket.isSlow = false;
    socket.read();
    worker.finish(await given(2));
    await eventually(() => expect(socket.summary).toEqual(["a: result", "b: superseded", "c: result"]));
  });

  it("drains: finishes what runs, refuses the rest, and closes with 1001", async () => {
    const { socket, session, worker, given, eventually } = await connected();
    socket.say(ask("a"));
    const id = await given(1);
    socket.say(ask("b"));
    session.drain();
    socket.say(ask("c"));
    expect(socket.closedWith).toBeUndefined();
    worker.finish(id);
    await eventually(() => expect(socket.closedWith).toBe(1_001));
    expect(socket.summary).toEqual(["b: DRAINING", "c: DRAINING", "a: result"]);
  });

  it("drains at once when nothing runs", async () => {
    const { socket, session } = await connected();
    session.drain();
    expect(socket.closedWith).toBe(1_001);
  });

  it("that has nothing to do for long is told so and closed with 1000", async () => {
    const { socket, eventually } = await connected({ idleMs: 1 });
    await eventually(() => expect(socket.closedWith).toBe(1_000));
    expect(socket.received).toMatchObject([{ isBinary: false, message: { type: "x-fal-error", error: "TIMEOUT" } }]);
  });

  it("that waits for its image is not idle", async () => {
    const { socket, worker, given, eventually } = await connected({ idleMs: 1 });
    socket.say(ask("a"));
    const id = await given(1);
    const before = performance.now();
    await eventually(() => expect(performance.now() - before).toBeGreaterThan(20));
    expect(socket.closedWith).toBeUndefined();
    worker.finish(id);
    await eventually(() => expect(socket.closedWith).toBe(1_000));
    expect(socket.summary[0]).toBe("a: result");
  });

  it("with more messages than allowed, pings included, is closed with 1008", async () => {
    const { socket, ended } = await connected({ messagesPerSecond: 10 });
    for (let count = 0; count < 20; count += 1) socket.ping();
    await expect(ended).resolves.toBe(1_008);
    expect(socket.summary).toEqual([": RATE_LIMITED"]);
  });

  it("a caller who has as many pictures as allowed is refused another one", async () => {
    const begin = vi.fn<SessionOptions["begin"]>(() => {
      throw new LatentcastError("rate_limited");
    });
    const { socket, eventually } = await connected({ begin });
    socket.say(ask("a"));
    await eventually(() => expect(socket.summary).toEqual(["a: RATE_LIMITED"]));
  });
});
