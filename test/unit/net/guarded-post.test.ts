import type { LookupFunction } from "node:net";
import { describe, expect, it } from "vitest";
import { guardedPost } from "../../../src/net/guarded-post.ts";
import { receiveWebhooks } from "../../support/webhook-receiver.ts";

/** Name resolution that answers what it is given. */
const resolvesTo =
  (...addresses: string[]): LookupFunction =>
  (_name, _options, callback) =>
    callback(
      null,
      addresses.map((address) => ({ address, family: address.includes(":") ? 6 : 4 })),
    );

const options = (lookup: LookupFunction, allowPrivate = true) => ({
  headers: { "content-type": "application/json" },
  body: "{}",
  signal: AbortSignal.timeout(10_000),
  allowPrivate,
  lookup,
});

describe("a guarded POST", () => {
  it("goes to the address that the name leads to", async () => {
    await using receiver = await receiveWebhooks((response) => void response.writeHead(204).end());
    const url = new URL(receiver.url);
    url.hostname = "hook.example";
    expect(await guardedPost(url, options(resolvesTo("127.0.0.1")))).toBe(204);
    expect(receiver.deliveries[0]).toMatchObject({ body: "{}", headers: { host: url.host } });
  });

  it.each([
    ["a private address", ["127.0.0.1"], false],
    ["a link-local address", ["169.254.169.254"], true],
    ["a public and a link-local address", ["93.184.216.34", "fe80::1"], true],
    ["a mapped private address", ["::ffff:10.0.0.1"], false],
  ])("is not sent to a name that leads to %s", async (_, addresses, allowPrivate) => {
    await using receiver = await receiveWebhooks();
    const url = new URL(receiver.url);
    url.hostname = "hook.example";
    await expect(guardedPost(url, options(resolvesTo(...addresses), allowPrivate))).rejects.toThrow(/must not lead/);
    expect(receiver.deliveries).toEqual([]);
  });

  it("is not sent to an address that is spelled out either", async () => {
    const lookup = resolvesTo("127.0.0.1");
    await expect(guardedPost(new URL("http://169.254.169.254/"), options(lookup))).rejects.toThrow(/link-local/);
    await expect(guardedPost(new URL("http://127.0.0.1/"), options(lookup, false))).rejects.toThrow(/private/);
  });

  it("fails when the name cannot be resolved", async () => {
    // As Node's own resolution does: with an error there are no addresses at all.
    const fails = ((_name, _options, callback: (error: Error) => void) =>
      callback(new Error("no such name"))) as LookupFunction;
    await expect(guardedPost(new URL("http://hook.example/"), options(fails))).rejects.toThrow("no such name");
  });

  it("ends when its signal fires", async () => {
    await using receiver = await receiveWebhooks(() => undefined);
    const stop = new AbortController();
    const posting = guardedPost(new URL(receiver.url), { ...options(resolvesTo()), signal: stop.signal });
    setImmediate(() => stop.abort());
    await expect(posting).rejects.toThrow(/abort/i);
  });
});
