/**
 * fal's own JavaScript client, pointed at Latentcast.
 *   npm install @fal-ai/client && node examples/fal-js.mjs
 */
import { createFalClient } from "@fal-ai/client";

const server = process.env.LATENTCAST_URL ?? "http://127.0.0.1:8080";
const fal = createFalClient({
  // Sent to Latentcast; any value does unless LATENTCAST_API_KEYS is set.
  credentials: process.env.LATENTCAST_API_KEY ?? "none",
  proxyUrl: { url: `${server}/fal`, when: "always" },
});

const stream = await fal.stream("local/sdxl", { input: { prompt: "a beautiful sunset" } });
// A run that fails rejects this while the loop below ends silently; without a handler by then the process would end.
const finished = stream.done();
finished.catch(() => undefined);
for await (const event of stream) {
  if (event.preview) console.log(`preview after step ${event.preview.step + 1} of ${event.preview.total_steps}`);
}
const result = await finished;
console.log(`streamed ${result.image.width} × ${result.image.height}, seed ${result.seed}`);

const { data, requestId } = await fal.subscribe("local/sdxl", {
  input: { prompt: "a beautiful sunset", seed: result.seed },
  onQueueUpdate: ({ status }) => console.log(status),
});
console.log(`queued ${data.image.width} × ${data.image.height}, request ${requestId}`);
