import Fastify from "fastify";
import { expect, it } from "vitest";
import { limitCallers, type BeginImage } from "../../../../src/http/plugins/limits.ts";

interface Sharing {
  sharers: number;
}

async function server(limits: { ratePerMinute: number | null; concurrent: number | null }) {
  const sharing: Sharing = { sharers: 1 };
  const app = Fastify();
  app.decorateRequest("caller", "");
  app.addHook("onRequest", async (request) => {
    request.caller = "somebody";
  });
  const begin = await limitCallers(app, { ...limits, sharers: () => sharing.sharers });
  app.post("/", () => "done");
  return { app, begin, sharing };
}

/** How many more images the caller may begin. All of them end. */
function room(begin: BeginImage): number {
  const ends: (() => void)[] = [];
  try {
    while (ends.length < 10) ends.push(begin("somebody"));
  } catch {
    // One too many.
  }
  for (const end of ends) end();
  return ends.length;
}

it("a server that is alone allows the whole rate, one of several its share, rounded up", async () => {
  const { app, sharing } = await server({ ratePerMinute: 5, concurrent: null });
  const allowed: unknown[] = [];
  for (sharing.sharers of [1, 2, 3, 9]) {
    const { headers } = await app.inject({ method: "POST", url: "/" });
    allowed.push(headers["x-ratelimit-limit"]);
  }
  expect(allowed).toEqual(["5", "3", "2", "1"]);
  await app.close();
});

it("images at once are shared in the same way, as gateways come and go", async () => {
  const { app, begin, sharing } = await server({ ratePerMinute: null, concurrent: 5 });
  const allowed: number[] = [];
  for (sharing.sharers of [1, 2, 9, 0, 1]) allowed.push(room(begin));
  expect(allowed).toEqual([5, 3, 1, 5, 5]);
  await app.close();
});

it("without a limit there is nothing to share", async () => {
  const { app, begin, sharing } = await server({ ratePerMinute: null, concurrent: null });
  sharing.sharers = 3;
  expect(room(begin)).toBe(10);
  await app.close();
});
