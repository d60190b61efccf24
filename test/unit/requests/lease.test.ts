import pino from "pino";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { deferred } from "../../../src/async/deferred.ts";
import { LatentcastError } from "../../../src/errors.ts";
import { Lease } from "../../../src/requests/lease.ts";
import type { Claim, RequestStore } from "../../../src/storage/request-store.ts";
import { ended } from "../../contract/store-under-test.ts";

beforeEach(() => {
  vi.useFakeTimers({ toFake: ["setInterval", "clearInterval"] });
});
afterEach(() => {
  vi.useRealTimers();
});

const MINUTE_MS = 60_000;

function lease(overrides: Partial<RequestStore> = {}) {
  const calls: string[] = [];
  const lost: string[] = [];
  const claim = (revision: number): Claim => ({ id: "1", owner: "me", attempt: 1, revision });
  const store = {
    claim: async () => claim(1),
    renew: async ({ revision }: Claim) => {
      calls.push(`renew ${revision}`);
      return claim(revision + 1);
    },
    release: async ({ revision }: Claim) => void calls.push(`release ${revision}`),
    end: async ({ revision }: Claim) => {
      calls.push(`end ${revision}`);
      return true;
    },
    cancel: async () => {
      calls.push("cancel");
      return true;
    },
    ...overrides,
  } as RequestStore;
  const log = pino({ level: "silent" });
  const subject = new Lease({ store, id: "1", owner: "me", log, onLost: () => lost.push("1") });
  return { subject, calls, lost };
}

describe("a lease", () => {
  it("is renewed three times before it would run out, each time with the newest claim", async () => {
    const { calls } = lease();
    await vi.advanceTimersByTimeAsync(MINUTE_MS);
    expect(calls).toEqual(["renew 1", "renew 2", "renew 3"]);
  });

  it("ends the request with the newest claim, and is not renewed after that", async () => {
    const { subject, calls } = lease();
    await vi.advanceTimersByTimeAsync(MINUTE_MS / 3);
    expect(await subject.end(ended(1))).toBe(true);
    await vi.advanceTimersByTimeAsync(MINUTE_MS);
    expect(calls).toEqual(["renew 1", "end 2"]);
  });

  it("is not renewed while its end is on its way, which a renewal would make fail, and again when the end has failed", async () => {
    const { promise, reject } = deferred<boolean>();
    const { subject, calls } = lease({ end: () => promise });
    const ending = subject.end(ended(1));
    await subject.renew();
    await vi.advanceTimersByTimeAsync(MINUTE_MS / 3);
    expect(calls).toEqual([]);
    reject(new Error("nobody answers"));
    await expect(ending).rejects.toThrow("nobody answers");
    await subject.renew();
    expect(calls).toEqual(["renew 1"]);
  });

  it("that is released is not renewed after that", async () => {
    const { subject, calls } = lease();
    await subject.release();
    await vi.advanceTimersByTimeAsync(MINUTE_MS);
    expect(calls).toEqual(["release 1"]);
  });

  it.each(["held", "ended"] as const)("of a request that is %s by another process is lost at once", async (state) => {
    const { lost, calls } = lease({ claim: async () => state });
    await vi.advanceTimersByTimeAsync(MINUTE_MS);
    expect([lost, calls]).toEqual([["1"], []]);
  });

  it("that another process has taken over is lost at the next renewal", async () => {
    const { lost } = lease({ renew: async () => "lost" });
    await vi.advanceTimersByTimeAsync(MINUTE_MS / 3);
    expect(lost).toEqual(["1"]);
  });

  it("is kept while it cannot be renewed, as on a full disk", async () => {
    const { subject, calls, lost } = lease({ renew: () => Promise.reject(new LatentcastError("storage_full")) });
    await vi.advanceTimersByTimeAsync(MINUTE_MS);
    expect(await subject.end(ended(1))).toBe(true);
    expect([calls, lost]).toEqual([["end 1"], []]);
  });

  it("that could not be taken ends the request without a claim", async () => {
    const { subject, calls } = lease({ claim: () => Promise.reject(new LatentcastError("storage_full")) });
    expect(await subject.end(ended(1))).toBe(true);
    expect(calls).toEqual(["cancel"]);
  });
});
