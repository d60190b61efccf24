/**
 * Answers a POST of `{"bytes": N}` with one event of N bytes that is ready: what HTTP and the client cost before a server has done anything.
 */
import { createServer } from "node:http";
import { json } from "node:stream/consumers";

const ready = new Map<number, Buffer>();

/** An event like a preview: `data:` and an image in base64. */
function eventOf(bytes: number): Buffer {
  const [before, after] = ['data: {"image":{"url":"', '"}}\n\n'];
  const event = Buffer.from(before + "A".repeat(bytes - before.length - after.length) + after);
  ready.set(bytes, event);
  return event;
}

const server = createServer((request, response) => {
  void json(request).then((body) => {
    const { bytes } = body as { bytes: number };
    response.writeHead(200, { "content-type": "text/event-stream" });
    response.end(ready.get(bytes) ?? eventOf(bytes));
  });
});
await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
const address = server.address();
process.on("disconnect", () => process.exit(0));
process.send?.({ url: `http://127.0.0.1:${typeof address === "object" && address !== null ? address.port : 0}` });
