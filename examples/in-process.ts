/**
 * Makes an image without a server: the orchestrator and its workers live in this process.
 *   npx tsx examples/in-process.ts "a beautiful sunset" sunset.jpg
 */
import { writeFile } from "node:fs/promises";
import { createOrchestrator } from "latentcast";

const [prompt = "a beautiful sunset", file = "sunset.jpg"] = process.argv.slice(2);
const orchestrator = await createOrchestrator();

try {
  const stream = orchestrator.stream({ prompt });
  for await (const event of stream) {
    if (event.kind === "preview") console.log(`preview after step ${event.step + 1} of ${event.totalSteps}`);
  }
  const { image, seed } = await stream.result();
  await writeFile(file, image.bytes);
  console.log(`${file}: ${image.width} × ${image.height}, seed ${seed}`);
} finally {
  await orchestrator.close();
}
