/** What a reverse proxy does in front of a server: TLS on one side, plain http on the other. */
import { connect, type AddressInfo, type Socket } from "node:net";
import { createServer } from "node:tls";
import { once } from "node:events";
import type { Certificate } from "./certificate.ts";

export interface TlsFront {
  readonly port: number;
  close(): Promise<void>;
}

/** @param onAnswer Sees what the server sends, before TLS. */
export async function startTlsFront(
  url: string,
  certificate: Certificate,
  onAnswer?: (chunk: Buffer) => void,
): Promise<TlsFront> {
  const { hostname, port } = new URL(url);
  const open = new Set<Socket>();
  const server = createServer(certificate, (outside) => {
    const inside = connect(Number(port), hostname);
    if (onAnswer !== undefined) inside.on("data", onAnswer);
    for (const [socket, other] of [
      [outside, inside],
      [inside, outside],
    ] as const) {
      open.add(socket);
      socket.pipe(other);
      // An end of one side for whatever reason is the end of the other.
      socket.on("error", () => other.destroy());
      socket.on("close", () => {
        open.delete(socket);
        other.destroy();
      });
    }
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  // A listening TCP server has an address of this form.
  const { port: tlsPort } = server.address() as AddressInfo;
  return {
    port: tlsPort,
    close: async () => {
      for (const socket of open) socket.destroy();
      server.close();
      await once(server, "close");
    },
  };
}
