/** A line to a server on which answers arrive late. */
import { once } from "node:events";
import { connect, createServer, type AddressInfo, type Socket } from "node:net";

export interface SlowLine {
  readonly url: string;
  close(): Promise<void>;
}

export async function startSlowLine(target: string, delayMs: number): Promise<SlowLine> {
  const sockets = new Set<Socket>();
  const line = createServer((outside) => {
    const inside = connect(Number(new URL(target).port), "127.0.0.1");
    outside.pipe(inside);
    inside.on("data", (bytes) => setTimeout(() => outside.write(bytes), delayMs));
    inside.on("end", () => setTimeout(() => outside.end(), delayMs));
    for (const [socket, other] of [
      [outside, inside],
      [inside, outside],
    ] as const) {
      sockets.add(socket);
      socket.on("error", () => other.destroy());
      socket.on("close", () => sockets.delete(socket));
    }
  });
  line.listen(0, "127.0.0.1");
  await once(line, "listening");
  // A listening TCP server has an address of this form.
  const { port } = line.address() as AddressInfo;
  return {
    url: `http://127.0.0.1:${port}`,
    close: async () => {
      for (const socket of sockets) socket.destroy();
      line.close();
      await once(line, "close");
    },
  };
}
