/** A network between a client and a server that can be cut. */
import { once } from "node:events";
import { connect, createServer, type AddressInfo, type Socket } from "node:net";

export interface CuttableNetwork {
  /** Leads to the server. */
  readonly url: string;
  /** Ends of connections, two for each. */
  readonly openEnds: number;
  /** Breaks all connections that are open; new ones can be made. */
  cut(): void;
  /** The same, and new ones break too, until it is down no more. */
  isDown: boolean;
  close(): void;
}

export async function startCuttableNetwork(serverUrl: string): Promise<CuttableNetwork> {
  const ends = new Set<Socket>();
  let isDown = false;
  const network = createServer((outside) => {
    if (isDown) return void outside.destroy();
    const inside = connect(Number(new URL(serverUrl).port), "127.0.0.1");
    for (const [socket, other] of [
      [outside, inside],
      [inside, outside],
    ] as const) {
      ends.add(socket);
      socket.pipe(other);
      socket.on("error", () => other.destroy());
      socket.on("close", () => {
        ends.delete(socket);
        other.destroy();
      });
    }
  });
  network.listen(0, "127.0.0.1");
  await once(network, "listening");
  const cut = (): void => {
    for (const socket of ends) socket.destroy();
  };
  // A listening TCP server has an address of this form.
  const { port } = network.address() as AddressInfo;
  return {
    url: `http://127.0.0.1:${port}`,
    get openEnds() {
      return ends.size;
    },
    get isDown() {
      return isDown;
    },
    set isDown(down) {
      isDown = down;
      if (down) cut();
    },
    cut,
    close: () => {
      cut();
      network.close();
    },
  };
}
