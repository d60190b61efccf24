/** What a reverse proxy does in front of a server: TLS on one side, plain http on the other. */
import { once } from "node:events";
import { request } from "node:http";
import { createServer } from "node:https";
import type { AddressInfo } from "node:net";
import { pipeline } from "node:stream";
import type { Certificate } from "./certificate.ts";

export interface TlsFront {
  readonly port: number;
  close(): Promise<void>;
}

/** @param onAnswer Sees what the server sends, before TLS. */
export async function startTlsFront(
  url: string,
  certificate: Certificate,
  onAnswer: (chunk: Buffer) => void = () => undefined,
): Promise<TlsFront> {
  const { hostname, port: insidePort } = new URL(url);
  const server = createServer(certificate, (outside, toOutside) => {
    const { url: path = "/", method, headers } = outside;
    // The path as it came, two slashes at its start included.
    const to = { hostname, port: insidePort, path, method };
    const inside = request({ ...to, headers: { ...headers, "x-forwarded-proto": "https" } });
    // The end of one side, for whatever reason, is the end of the other.
    inside.on("error", () => toOutside.destroy());
    toOutside.on("close", () => inside.destroy());
    inside.on("response", (answer) => {
      toOutside.writeHead(answer.statusCode ?? 502, answer.headers);
      answer.on("data", onAnswer);
      pipeline(answer, toOutside, () => undefined);
    });
    outside.pipe(inside);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  // A listening TCP server has an address of this form.
  const { port } = server.address() as AddressInfo;
  return {
    port,
    close: async () => {
      server.closeAllConnections();
      server.close();
      await once(server, "close");
    },
  };
}
