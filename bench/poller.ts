/** Asks for the state of requests again and again, in a process of its own so that it delays only the server. Started by polling.ts. */
import { Agent, get } from "node:http";
import { setTimeout as pause } from "node:timers/promises";

export interface PollOrder {
  readonly urls: readonly string[];
  readonly everyMs: number;
}

const agent = new Agent({ keepAlive: true });

interface Round {
  replies: number;
  isOver: boolean;
  polls: Promise<void>[];
}

let round: Round | undefined;

/** An order starts a round of asking; `"end"` ends it, and the number of replies is the answer. */
process.on("message", (order: PollOrder | "end") => {
  if (order === "end") {
    const ended = round;
    if (ended === undefined) return;
    ended.isOver = true;
    void Promise.all(ended.polls).then(() => process.send?.(ended.replies));
    return;
  }
  const { urls, everyMs } = order;
  const started: Round = { replies: 0, isOver: false, polls: [] };
  // Each asks from its own place in the interval on, so that the requests do not come in one burst.
  started.polls = urls.map((url, index) => poll(started, url, (index * everyMs) / urls.length, everyMs));
  round = started;
});
process.once("disconnect", () => process.exit());
process.send?.("ready");

async function poll(of: Round, url: string, firstAfterMs: number, everyMs: number): Promise<void> {
  await pause(firstAfterMs);
  while (!of.isOver) {
    const began = performance.now();
    await ask(url);
    of.replies += 1;
    await pause(Math.max(0, everyMs - (performance.now() - began)));
  }
}

function ask(url: string): Promise<void> {
  return new Promise((resolve, reject) => {
    get(url, { agent }, (response) => {
      response.resume();
      response.once("end", resolve);
      response.once("error", reject);
    }).once("error", reject);
  });
}
