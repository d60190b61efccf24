/** Following a request while others want the connection. */
import { describe, expect, it } from "vitest";
import { connect } from "../../../src/client/connection.ts";
import { follow } from "../../../src/client/follow.ts";
import type { StreamEvent } from "../../../src/client/index.ts";
import type { Turns } from "../../../src/client/turns.ts";
import { events, previewFrame, resultFrame, scriptedServer, type Answer } from "../../support/scripted-server.ts";

/** Turns whose ends the test decides. */
function controlledTurns(): { turns: Turns; endTurn: () => void; held: () => number } {
  let over = new AbortController();
  let held = 0;
  return {
    turns: {
      take: () => {
        over = new AbortController();
        held += 1;
        return Promise.resolve({ over: over.signal, end: () => void (held -= 1) });
      },
    },
    endTurn: () => over.abort(),
    held: () => held,
  };
}

function followed(answers: readonly Answer[], onEvent: (event: StreamEvent, endTurn: () => void) => void) {
  const server = scriptedServer({ "GET /requests/r1/events": answers });
  const { turns, endTurn, held } = controlledTurns();
  const result = follow({
    connection: { ...connect({ baseUrl: "http://h", fetch: server.fetch }), turns },
    requestId: "r1",
    signal: new AbortController().signal,
    onEvent: (event) => Promise.resolve(onEvent(event, endTurn)),
  });
  return { result, server, held };
}

describe("a stream whose turn is over", () => {
  it("gives up its connection and continues after the last event it has read, however often", async () => {
    const stays = Array.from({ length: 5 }, (_, step) => events([previewFrame(step)], "stay"));
    const { result, server, held } = followed([...stays, events([resultFrame])], (_event, endTurn) => endTurn());
    expect((await result).seed).toBe(1);
    expect(server.asked.map(({ headers }) => headers["last-event-id"])).toEqual([
      undefined,
      ...Array.from({ length: 5 }, (_, step) => `a.${step}`),
    ]);
    expect(held()).toBe(0);
  });

  it("first takes the event that is arriving", async () => {
    const encoder = new TextEncoder();
    const text = `event: preview\nid: a.3\ndata: ${JSON.stringify(previewFrame(3).data)}\n\n`;
    let endTurn = (): void => undefined;
    const inTwo: Answer = () =>
      new Response(
        new ReadableStream<Uint8Array>({
          start: (controller) => controller.enqueue(encoder.encode(`event: started\ndata: {}\n\n${text.slice(0, 40)}`)),
          pull: async (controller) => {
            endTurn();
            await new Promise((resolve) => setImmediate(resolve));
            controller.enqueue(encoder.encode(text.slice(40)));
          },
        }),
        { headers: { "content-type": "text/event-stream" } },
      );
    const seen: string[] = [];
    const { result, server } = followed([inTwo, events([resultFrame])], (event, end) => {
      endTurn = end;
      seen.push(event.kind);
    });
    await result;
    expect(seen).toEqual(["started", "preview"]);
    expect(server.asked.at(-1)?.headers["last-event-id"]).toBe("a.3");
  });
});
