/**
 * Streams an image and writes it to a file.
 *   npx tsx examples/node-stream.ts "a beautiful sunset" sunset.jpg
 */
import { writeFile } from "node:fs/promises";
import { createClient, LatentcastError } from "latentcast/client";

const [prompt = "a beautiful sunset", file = "sunset.jpg"] = process.argv.slice(2);
const client = createClient({ baseUrl: process.env["LATENTCAST_URL"] ?? "http://127.0.0.1:8080" });

try {
  const stream = client.stream({ prompt });
  for await (const event of stream) {
    switch (event.kind) {
      case "queued":
        console.log(`${event.position} ahead`);
        break;
      case "preview":
        console.log(`preview after step ${event.step + 1} of ${event.totalSteps}`);
        break;
      default:
    }
  }
  const { image, seed } = await stream.result();
  const response = await fetch(image.url);
  await writeFile(file, Buffer.from(await response.arrayBuffer()));
  console.log(`${file}: ${image.width} × ${image.height}, seed ${seed}`);
} catch (error) {
  if (!(error instanceof LatentcastError)) throw error;
  console.error(`${error.code}: ${error.message}`);
  process.exitCode = 1;
}
