/** What a dialect adds to the first event over `/stream`: the same request on the same server, told in another shape. */
import { figure, interleave, type Figure, type Settings } from "./lib/figures.ts";
import { startStubServer } from "./lib/servers.ts";
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
  const figures: Figure[] = [];
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

function firstEventMs({ posted, firstPreview = Number.NaN }: StreamTimes): number {
  return (firstPreview - posted) * 1_000;
}
