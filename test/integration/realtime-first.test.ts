/** The first realtime connection of a server, during which what all of them need is loaded. */
import { once } from "node:events";
import { connect } from "node:net";
import { beforeEach, describe, expect, it, vi } from "vitest";
import { eventually } from "../support/eventually.ts";
import { RealtimeClient } from "../support/realtime.ts";
import { startTestServer } from "../support/server.ts";

describe("the first realtime connection", () => {
  // Otherwise only the first test of this file would load anything.
  beforeEach(() => vi.resetModules());

  it("of a client that has already left takes nobody's place", async () => {
    await using server = await startTestServer({
      worker: "fixture_worker",
      env: { LATENTCAST_REALTIME_CONNECTIONS_PER_KEY: "1" },
    });
    await server.ready();
    const { hostname, port } = new URL(server.url);
    const upgraded = once(server.app.server, "upgrade");
    const leaving = connect(Number(port), hostname);
    leaving.write(
      [
        "GET /local/sdxl/realtime HTTP/1.1",
        `host: ${hostname}:${port}`,
        ...["connection: upgrade", "upgrade: websocket"],
        ...["sec-websocket-version: 13", "sec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA=="],
        "\r\n",
      ].join("\r\n"),
    );
    await upgraded;
    leaving.destroy();
    await using client = await eventually(() => RealtimeClient.open(server.url));
    client.ask({ prompt: "x", seed: 1, num_inference_steps: 1, request_id: "a" });
    await client.result("a");
    const metrics = await (await fetch(`${server.url}/metrics`)).text();
    expect(metrics).toContain("\nlatentcast_realtime_clients 1\n");
  });

  it("of a server that drains is closed with 1001, and the server ends", async () => {
    await using server = await startTestServer({ worker: "fixture_worker" });
    await server.ready();
    const upgraded = once(server.app.server, "upgrade");
    const opening = RealtimeClient.open(server.url);
    await upgraded;
    const drained = server.drain();
    await using client = await opening;
    expect(await client.closed).toBe(1_001);
    await drained;
  });
});
