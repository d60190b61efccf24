/** What every implementation of `RequestStore` has to do. */
import { setTimeout as pause } from "node:timers/promises";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { Conflict, type Claim } from "../../src/storage/request-store.ts";
import { expected, newHistory, observed, requestStoreCommands } from "./request-store-commands.ts";
import { ended, request, unfinishedIds, type OpenStore } from "./store-under-test.ts";

const LEASE_MS = 1_000;
/** Far beyond what a store needs to notice a change, short enough to wait for nothing. */
const SILENCE_MS = 50;

export function requestStoreContract(open: OpenStore): void {
  it("agrees with a plain map after any history, deaths of the process included", { timeout: 120_000 }, async () => {
    await fc.assert(
      fc.asyncProperty(fc.commands(requestStoreCommands, { maxCommands: 25 }), async (commands) => {
        await using store = await open();
        const model = newHistory();
        await fc.asyncModelRun(() => ({ model, real: store }), commands);
        expect(await observed(store)).toEqual(expected(model));
      }),
      { numRuns: 12 },
    );
  });

  describe("accept", () => {
    it("keeps a request as it was given", async () => {
      await using store = await open();
      const given = request("1", { owner: "somebody", warnings: ["w"], startByMs: 5, webhookUrl: "http://hook/" });
      await store.requests.accept(given);
      expect(await store.requests.find("1")).toMatchObject({
        request: given,
        attempts: 0,
        isHeld: false,
        result: null,
      });
      expect(await store.requests.find("2")).toBeUndefined();
    });

    it("keeps the images of a request until it has ended, through deaths of the process", async () => {
      await using store = await open();
      const files = { image: Buffer.alloc(100_000, "image"), mask: Buffer.from("mask") };
      await store.requests.accept(request("1"), undefined, files);
      await store.requests.accept(request("2"), undefined, { image: files.mask, mask: null });
      await store.restart("crash");
      expect(await store.requests.inputFiles("1")).toEqual(files);
      expect(await store.requests.inputFiles("2")).toEqual({ image: files.mask, mask: null });
      await store.requests.cancel("1", ended(1));
      expect(await store.requests.inputFiles("1")).toBeUndefined();
      await store.restart("crash");
      expect(await store.requests.inputFiles("1")).toBeUndefined();
      expect(await store.requests.inputFiles("2")).toBeDefined();
      expect(await store.requests.inputFiles("3")).toBeUndefined();
    });

    it("frees the space of a request's images when it ends, and never before", async () => {
      await using store = await open({ limitBytes: 2 ** 18 });
      const files = { image: Buffer.alloc(2 ** 17), mask: null };
      for (const id of ["1", "2"]) {
        await store.requests.accept(request(id), undefined, files);
        await expect(store.requests.accept(request(`${id}0`), undefined, files)).rejects.toMatchObject({
          code: "storage_full",
        });
        expect(await store.requests.inputFiles(id)).toEqual(files);
        expect(await store.requests.find(`${id}0`)).toBeUndefined();
        await store.requests.cancel(id, ended(1));
      }
    });

    it("keeps the images of a request when a second one has its id", async () => {
      await using store = await open();
      const files = { image: Buffer.from("first"), mask: null };
      await store.requests.accept(request("1"), undefined, files);
      const second = store.requests.accept(request("1"), undefined, { image: Buffer.from("second"), mask: null });
      await expect(second).rejects.toThrow(Conflict);
      expect(await store.requests.inputFiles("1")).toEqual(files);
    });

    it("refuses an id that is taken, and changes nothing", async () => {
      await using store = await open();
      await store.requests.accept(request("1"));
      await expect(store.requests.accept(request("1", { app: "other" }), ended(1))).rejects.toThrow(Conflict);
      expect(await store.requests.find("1")).toMatchObject({ request: { app: "local/sdxl" }, result: null });
    });

    it("stores many at one moment, and one that fails does not affect the others", async () => {
      await using store = await open();
      const { requests } = store;
      await Promise.all(Array.from({ length: 200 }, (_, index) => requests.accept(request(String(index)))));
      expect(await unfinishedIds(requests)).toHaveLength(200);
      const outcomes = await Promise.allSettled([requests.accept(request("5")), requests.accept(request("1000"))]);
      expect(outcomes.map(({ status }) => status)).toEqual(["rejected", "fulfilled"]);
      expect(await requests.find("1000")).toBeDefined();
    });

    it("rejects with `storage_full` when there is no room, and accepts requests again when there is", async () => {
      await using store = await open({ limitBytes: 2 ** 20 });
      const { requests } = store;
      await requests.accept(request("1", { warnings: ["x".repeat(2 ** 20 - 2_000)] }));
      const second = request("2", { warnings: ["x".repeat(10_000)] });
      await expect(requests.accept(second)).rejects.toMatchObject({ code: "storage_full", status: 507 });
      expect(await requests.find("2")).toBeUndefined();
      await requests.cancel("1", ended(3));
      await requests.accept(second);
      expect(await requests.find("2")).toBeDefined();
    });

    it("removes what would expire next to make room, and never what has not ended", async () => {
      await using store = await open({ limitBytes: 2 ** 20 });
      const { requests } = store;
      await requests.accept(request("0"));
      for (let id = 1; id <= 20; id += 1) await requests.accept(request(String(id)), ended(id, 100_000));
      const found = await Promise.all(Array.from({ length: 21 }, (_, id) => requests.find(String(id))));
      const kept = found.flatMap((stored) => (stored === undefined ? [] : [Number(stored.request.id)]));
      expect(kept).toEqual([0, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20]);
    });
  });

  describe("claim", () => {
    it("has one winner, however many try at once", async () => {
      await using store = await open();
      await store.requests.accept(request("1"));
      const owners = ["a", "b", "c", "d"];
      const outcomes = await Promise.all(owners.map((owner) => store.requests.claim("1", owner, LEASE_MS)));
      expect(outcomes.filter((outcome) => outcome === "held")).toHaveLength(3);
      expect(await store.requests.find("1")).toMatchObject({ attempts: 1, isHeld: true });
    });

    it("gives the reason when there is none", async () => {
      await using store = await open();
      expect(await store.requests.claim("1", "a", LEASE_MS)).toBe("unknown");
      await store.requests.accept(request("1"), ended(1));
      expect(await store.requests.claim("1", "a", LEASE_MS)).toBe("ended");
    });

    it("is possible again when the lease has run out, and the earlier claim is spent", async () => {
      await using store = await open();
      const { requests } = store;
      await requests.accept(request("1"));
      const first = claimed(await requests.claim("1", "a", LEASE_MS));
      store.advance(LEASE_MS);
      expect(await requests.find("1")).toMatchObject({ isHeld: false });
      const second = claimed(await requests.claim("1", "b", LEASE_MS));
      expect(second.attempt).toBe(2);
      expect(await requests.renew(first, LEASE_MS)).toBe("lost");
      expect(await requests.end(first, ended(1))).toBe(false);
      expect(await requests.end(second, ended(2))).toBe(true);
      expect((await requests.ended("1"))?.body).toEqual(ended(2).body);
    });

    it("is taken from a holder that is known to be dead, and from no other", async () => {
      await using store = await open();
      const { requests } = store;
      await requests.accept(request("1"));
      expect(await requests.find("1")).toMatchObject({ holder: null });
      const first = claimed(await requests.claim("1", "a", LEASE_MS));
      expect(await requests.find("1")).toMatchObject({ holder: "a" });
      expect(await requests.claim("1", "b", LEASE_MS, "c")).toBe("held");
      expect(claimed(await requests.claim("1", "b", LEASE_MS, "a"))).toMatchObject({ owner: "b", attempt: 2 });
      expect(await requests.claim("1", "c", LEASE_MS, "a")).toBe("held");
      expect(await requests.end(first, ended(1))).toBe(false);
      expect(await requests.find("1")).toMatchObject({ holder: "b", isHeld: true });
    });

    it("lasts as long as it is renewed, each renewal spending the one before", async () => {
      await using store = await open();
      const { requests } = store;
      await requests.accept(request("1"));
      const first = claimed(await requests.claim("1", "a", LEASE_MS));
      store.advance(LEASE_MS - 1);
      const second = await requests.renew(first, LEASE_MS);
      store.advance(LEASE_MS - 1);
      expect(await requests.claim("1", "b", LEASE_MS)).toBe("held");
      expect(await requests.renew(first, LEASE_MS)).toBe("lost");
      expect(second === "lost" || (await requests.end(second, ended(1)))).toBe(true);
    });

    it("that is released does not count as an attempt, and frees the request", async () => {
      await using store = await open();
      const { requests } = store;
      await requests.accept(request("1"));
      const first = claimed(await requests.claim("1", "a", LEASE_MS));
      await requests.release(first);
      await requests.release(first);
      expect(await requests.find("1")).toMatchObject({ attempts: 0, isHeld: false });
      expect(await requests.end(first, ended(1))).toBe(false);
      expect(claimed(await requests.claim("1", "b", LEASE_MS)).attempt).toBe(1);
    });
  });

  describe("an end", () => {
    it("is never replaced", async () => {
      await using store = await open();
      const { requests } = store;
      await requests.accept(request("1"));
      const claim = claimed(await requests.claim("1", "a", LEASE_MS));
      expect(await requests.cancel("1", ended(1))).toBe(true);
      expect(await requests.end(claim, ended(2, 200_000))).toBe(false);
      expect(await requests.cancel("1", ended(3))).toBe(false);
      expect(await requests.renew(claim, LEASE_MS)).toBe("lost");
      expect((await requests.ended("1"))?.body).toEqual(ended(1).body);
      expect((await requests.find("1"))?.result).toMatchObject({ endedAtMs: 1 });
    });

    it("of an unknown request does nothing", async () => {
      await using store = await open();
      expect(await store.requests.cancel("1", ended(1))).toBe(false);
    });
  });

  describe("a webhook", () => {
    const hooked = request("1", { webhookUrl: "http://hook/" });

    it("is due when its request ends, and is waited for until then", async () => {
      await using store = await open();
      const { requests } = store;
      await requests.accept(hooked);
      await requests.accept(request("2"));
      const next = requests.nextWebhook(new AbortController().signal);
      await requests.cancel("2", ended(1));
      expect(await Promise.race([next, pause(SILENCE_MS, "waiting")])).toBe("waiting");
      await requests.cancel("1", ended(1));
      expect(await next).toEqual({ id: "1", url: "http://hook/", attempts: 0 });
    });

    it("is handed to one deliverer at a time", async () => {
      await using store = await open();
      await store.requests.accept(hooked, ended(1));
      await store.requests.nextWebhook(new AbortController().signal);
      const stop = new AbortController();
      const second = store.requests.nextWebhook(stop.signal);
      expect(await Promise.race([second, pause(SILENCE_MS, "waiting")])).toBe("waiting");
      stop.abort();
      expect(await second).toBeUndefined();
    });

    it("is due again after its pause with the failures counted, in the next process too", async () => {
      await using store = await open();
      await store.requests.accept(hooked, ended(1));
      const { signal } = new AbortController();
      const first = (await store.requests.nextWebhook(signal))!;
      await store.requests.settleWebhook(first, 1_000);
      await store.restart("orderly");
      store.advance(1_000);
      expect(await store.requests.nextWebhook(signal)).toEqual({ ...first, attempts: 1 });
    });

    it("that was being delivered by a process that died is due again", async () => {
      await using store = await open();
      await store.requests.accept(hooked, ended(1));
      const { signal } = new AbortController();
      const first = await store.requests.nextWebhook(signal);
      await store.restart("crash");
      expect(await store.requests.nextWebhook(signal)).toEqual(first);
    });

    it("keeps its request until it is settled", async () => {
      await using store = await open();
      const { requests } = store;
      await requests.accept(hooked, ended(1));
      store.advance(10 * store.keepMs);
      await requests.expire();
      const due = (await requests.nextWebhook(new AbortController().signal))!;
      await requests.settleWebhook(due, null);
      await requests.expire();
      expect(await requests.find("1")).toBeUndefined();
    });
  });
}

function claimed(outcome: Claim | "held" | "ended" | "unknown"): Claim {
  if (typeof outcome === "string") throw new Error(`no claim: ${outcome}`);
  return outcome;
}
