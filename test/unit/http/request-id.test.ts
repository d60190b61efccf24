import { randomUUID } from "node:crypto";
import { describe, expect, it } from "vitest";
import { EarlyCancellations, newRequestId } from "../../../src/http/request-id.ts";

const chosen = "3b241101-e2bb-4255-8caf-4136c566a962";

describe("the id of a request", () => {
  it.each(["/queue", "/queue?fal_webhook=x", "/queue/local/sdxl"])("may be chosen by the client at POST %s", (url) => {
    expect(newRequestId({ method: "POST", url, headers: { "x-latentcast-request-id": chosen } })).toBe(chosen);
  });

  it.each([
    ["POST", "/", chosen],
    ["POST", "/queued/model", chosen],
    ["GET", "/queue", chosen],
    ["POST", "/queue", "1"],
    ["POST", "/queue", "../../files/x"],
    ["POST", "/queue", undefined],
  ])("is random for %s %s with %s", (method, url, given) => {
    const id = newRequestId({ method, url, headers: { "x-latentcast-request-id": given } });
    expect(id).toMatch(/^[\da-f-]{36}$/);
    expect(id).not.toBe(chosen);
  });
});

describe("early cancellations", () => {
  it("are remembered, the newest ten thousand", () => {
    const early = new EarlyCancellations();
    early.add(chosen);
    expect(early.has(chosen)).toBe(true);
    for (let count = 0; count < 10_000; count += 1) early.add(randomUUID());
    expect(early.has(chosen)).toBe(false);
  });

  it("of what no client can have chosen are not", () => {
    const early = new EarlyCancellations();
    early.add("x");
    expect(early.has("x")).toBe(false);
  });
});
