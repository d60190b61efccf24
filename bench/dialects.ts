/** What a dialect adds to the first event over `/stream`: the same request on the same server, told in another shape. */
import { figure, interleave, type Figure, type Settings } from "./lib/figures.ts";
import { monotonicSeconds, startStubServer } from "./lib/servers.ts";
import { stream, type StreamTimes } from "./lib/stream-client.ts";

const STEP_MS = 30;
const STEPS = 6;
/** A first event is one number of a noisy kind: more pairs than elsewhere. */
const PAIRS_PER_REPEAT = 4;

const PLAIN = { prompt: "a", num_inference_steps: STEPS, preview: { every: 2, quality: 80 } };

/** Each with the way of `/stream` that makes the same previews. */
const DIALECTS = [
  {
    what: "OpenAI, JPEG partials",
    path: "/v1/images/generations",
    body: { prompt: "a", steps: STEPS, stream: true, partial_images: 3, output_format: "jpeg" },
    plain: PLAIN,
    gate: { most: 2 },
    note: "later than over /stream, whose previews are as large",
  },
  {
    what: "OpenAI, PNG partials",
    path: "/v1/images/generations",
    body: { prompt: "a", steps: STEPS, stream: true, partial_images: 3 },
    plain: { ...PLAIN, output_format: "png", preview: { every: 2, max_side: 512, quality: 90 } },
    note: "the same; the worker's JPEG is encoded as PNG, 512 pixels a side",
  },
];

export async function dialects(settings: Settings): Promise<Figure[]> {
  await using server = await startStubServer(settings, { stepMs: STEP_MS });
  const figures = [await polledProgress(server.url, settings)];
  for (const { what, path, body, plain, note, gate } of DIALECTS) {
    await stream(server.url, body, { path });
    const pairs = await interleave(
      settings.repeats * PAIRS_PER_REPEAT,
      async () => firstEventMs(await stream(server.url, body, { path })),
      async () => firstEventMs(await stream(server.url, plain)),
    );
    figures.push(
      figure(
        {
          id: "dialects",
          what: `first event, ${what}`,
          unit: "ms",
          note,
          ...(gate === undefined ? {} : { gate }),
        },
        pairs.map(({ a, b }) => a - b),
      ),
    );
  }
  return figures;
}

/** A1111's API has no events: its first is the first progress that shows an image, asked for again and again without a pause. */
async function polledProgress(url: string, settings: Settings): Promise<Figure> {
  const body = { prompt: "a", steps: STEPS, seed: 1 };
  const plain = { ...PLAIN, output_format: "png", preview: { every: 1, max_per_second: 4, quality: 80 } };
  await firstImageMs(url, body);
  const pairs = await interleave(
    settings.repeats * PAIRS_PER_REPEAT,
    () => firstImageMs(url, body),
    async () => firstEventMs(await stream(url, plain)),
  );
  const facts = { id: "dialects", what: "first image in A1111's progress", unit: "ms" } as const;
  const note = "later than over /stream, asked for without a pause";
  return figure(
    { ...facts, note, gate: { most: 2 } },
    pairs.map(({ a, b }) => a - b),
  );
}

async function firstImageMs(url: string, body: object): Promise<number> {
  const posted = monotonicSeconds();
  const drawn = fetch(`${url}/sdapi/v1/txt2img`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify(body),
  }).then((response) => response.arrayBuffer());
  const drawing = { hasEnded: false };
  const watched = drawn.finally(() => (drawing.hasEnded = true));
  let seen = Number.NaN;
  while (!drawing.hasEnded && Number.isNaN(seen)) {
    const progress = await (await fetch(`${url}/sdapi/v1/progress`)).text();
    if (!progress.includes('"current_image":null')) seen = monotonicSeconds();
  }
  await watched;
  return (seen - posted) * 1_000;
}

function firstEventMs({ posted, firstPreview = Number.NaN }: StreamTimes): number {
  return (firstPreview - posted) * 1_000;
}
