/**
 * Records pictures while they form as one animated WebP:
 *   npx tsx scripts/record-run.ts --url http://127.0.0.1:8080 --seed 7 --out docs/images/run.webp "a red lighthouse" "a blue boat"
 * Prompts run at the same time and are shown side by side.
 */
import { mkdir, writeFile } from "node:fs/promises";
import { dirname } from "node:path";
import { parseArgs } from "node:util";
import sharp from "sharp";
import { createClient, type LatentcastClient } from "../src/client/index.ts";

/** What a README may cost its readers. */
const MAX_BYTES = 1_000_000;
const FRAME_MS = 180;
const LAST_FRAME_MS = 2_500;
const GAP = 8;
/** Longest side of one picture. */
const MAX_SIDE = 384;
const QUALITIES = [85, 75, 65, 50, 35];

const { values, positionals: prompts } = parseArgs({
  allowPositionals: true,
  options: {
    url: { type: "string", default: "http://127.0.0.1:8080" },
    out: { type: "string", default: "docs/images/run.webp" },
    seed: { type: "string", default: "1" },
    steps: { type: "string", default: "20" },
  },
});

if (prompts.length === 0) {
  console.error('name what to paint: npx tsx scripts/record-run.ts "a red lighthouse at dusk"');
  process.exitCode = 1;
} else {
  const client = createClient({ baseUrl: values.url });
  const recordings = await Promise.all(prompts.map((prompt) => record(client, prompt)));
  const moments = Math.min(...recordings.map(({ length }) => length));
  const frames = await Promise.all(
    // From the end, so that the finished pictures come together.
    Array.from({ length: moments }, (_, index) => row(recordings.map((pictures) => pictures.at(index - moments)))),
  );
  const animation = await animate(frames);
  await mkdir(dirname(values.out), { recursive: true });
  await writeFile(values.out, animation);
  console.log(`${values.out}: ${frames.length} frames, ${Math.round(animation.length / 1_000)} kB`);
}

/** Every preview and the finished picture, in order. */
async function record(client: LatentcastClient, prompt: string): Promise<Buffer[]> {
  const stream = client.stream({
    prompt,
    seed: Number(values.seed),
    num_inference_steps: Number(values.steps),
    output_format: "png",
    preview: { every: 1, quality: 90 },
  });
  const pictures: Buffer[] = [];
  for await (const event of stream) if (event.kind === "preview") pictures.push(bytesOf(event.image.url));
  pictures.push(bytesOf((await stream.result()).image.url));
  return pictures;
}

function bytesOf(dataUri: string): Buffer {
  return Buffer.from(dataUri.slice(dataUri.indexOf(",") + 1), "base64");
}

async function row(pictures: readonly (Buffer | undefined)[]): Promise<Buffer> {
  const present = pictures.filter((picture) => picture !== undefined);
  const resized = await Promise.all(
    present.map((picture) =>
      sharp(picture).resize(MAX_SIDE, MAX_SIDE, { fit: "inside", withoutEnlargement: true }).png().toBuffer(),
    ),
  );
  return sharp(resized, { join: { across: resized.length, shim: GAP, background: { r: 0, g: 0, b: 0, alpha: 0 } } })
    .png()
    .toBuffer();
}

/** As good as {@link MAX_BYTES} allow. */
async function animate(frames: readonly Buffer[]): Promise<Buffer> {
  const delay = frames.map((_, index) => (index === frames.length - 1 ? LAST_FRAME_MS : FRAME_MS));
  for (const quality of QUALITIES) {
    const animation = await sharp([...frames], { join: { animated: true } })
      .webp({ quality, delay, loop: 0, effort: 6 })
      .toBuffer();
    if (animation.length <= MAX_BYTES) return animation;
  }
  throw new Error(`no quality of ${QUALITIES.join(", ")} makes it smaller than ${MAX_BYTES} bytes; name fewer prompts`);
}
