/** Posts JSON over a connection that stays open: `fetch` costs half a millisecond more. */
import { Agent, request } from "node:http";
import { buffer } from "node:stream/consumers";

const agent = new Agent({ keepAlive: true });

/** The body of the answer. Rejects for one that is not 200. */
export function post(url: string, body: object): Promise<Buffer> {
  const text = JSON.stringify(body);
  const headers = { "content-type": "application/json", "content-length": Buffer.byteLength(text) };
  return new Promise((resolve, reject) => {
    const outgoing = request(url, { agent, method: "POST", headers }, (response) => {
      const { statusCode } = response;
      buffer(response).then((bytes) => {
        if (statusCode === 200) resolve(bytes);
        else reject(new Error(`${url} answered ${String(statusCode)}: ${bytes.toString()}`));
      }, reject);
    });
    outgoing.on("error", reject);
    outgoing.end(text);
  });
}
