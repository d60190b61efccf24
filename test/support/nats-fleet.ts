/** Streams of a prefix of their own on the servers of a test, and connections to them. */
import { connectToNats } from "../../src/cluster/nats/connect.ts";
import { NatsBus } from "../../src/cluster/nats/bus.ts";
import { setUp } from "../../src/cluster/nats/setup.ts";
import { Layout, type LayoutOptions } from "../../src/cluster/layout.ts";
import type { BusUnderTest } from "../contract/bus.ts";
import { eventually } from "./eventually.ts";

const ANSWER_MS = 3_000;
let fleets = 0;

export interface NatsFleet extends BusUnderTest {
  /** @param servers In the order in which they are tried; every server when absent. */
  connect(servers?: readonly string[]): Promise<NatsBus>;
}

/** @param servers All of a cluster; other processes may make streams on them too. */
export async function openNatsFleet(
  servers: { readonly urls: readonly string[] },
  options: LayoutOptions = {},
): Promise<NatsFleet> {
  const layout = new Layout({ cluster: `t${process.pid}-${(fleets += 1)}`, ...options });
  const operator = { urls: servers.urls, name: "operator", inbox: layout.inbox("operator") };
  const connection = await connectToNats(operator);
  await setUp(connection, layout, servers.urls.length);
  const buses: NatsBus[] = [];
  return {
    layout,
    connect: async (urls = servers.urls) => {
      const bus = await NatsBus.connect({ urls, name: `test-${buses.length}`, inbox: layout.inbox("server") });
      buses.push(bus);
      return bus;
    },
    [Symbol.asyncDispose]: async () => {
      await Promise.all(buses.map((bus) => bus.close()));
      const names = layout.streamDefinitions.map(({ name }) => name);
      // Servers that were killed may be without a leader, and then nobody answers.
      const remove = (name: string) =>
        eventually(() => connection.request(`$JS.API.STREAM.DELETE.${name}`, undefined, { timeout: ANSWER_MS }));
      await Promise.all(names.map(remove));
      await connection.close();
    },
  };
}
