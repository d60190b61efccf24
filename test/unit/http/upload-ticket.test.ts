import { expect, it } from "vitest";
import { UploadTickets } from "../../../src/http/upload-ticket.ts";

const LIFE_MS = 60_000;
const SECRET = Buffer.alloc(32, 1);
const queryOf = (text: string): Record<string, string> => Object.fromEntries(new URLSearchParams(text));

it("a ticket is good for its key, at everybody with the secret, until it expires", () => {
  let nowMs = 1_000;
  const [here, there, elsewhere] = [SECRET, SECRET, Buffer.alloc(32, 2)].map(
    (secret) => new UploadTickets({ secret, now: () => nowMs }),
  );
  const query = queryOf(here!.issue("a.png", "image/png", LIFE_MS));
  expect(there!.check("a.png", query)).toEqual({ key: "a.png", contentType: "image/png", expiresAtMs: 61_000 });
  expect(there!.check("b.png", query)).toBeUndefined();
  expect(there!.check("a.png", { ...query, type: "text/html" })).toBeUndefined();
  expect(elsewhere!.check("a.png", query)).toBeUndefined();
  nowMs += LIFE_MS;
  expect(there!.check("a.png", query)).toBeUndefined();
});

it("tickets of one process mean nothing to another", () => {
  const query = queryOf(UploadTickets.ofThisProcess().issue("a.png", "image/png", LIFE_MS));
  expect(UploadTickets.ofThisProcess().check("a.png", query)).toBeUndefined();
});
