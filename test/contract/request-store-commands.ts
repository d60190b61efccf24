/** One step each of a history of requests, run against a store and against a plain map. */
import fc from "fast-check";
import { expect } from "vitest";
import { Conflict, type Claim } from "../../src/storage/request-store.ts";
import { ended, request, unfinishedIds, type StoreUnderTest } from "./store-under-test.ts";

const LEASE_MS = 1_000;
const STEP_MS = 400;
const WEBHOOK = "http://hook/";

interface Known {
  attempts: number;
  claim: { readonly claim: Claim; untilMs: number } | undefined;
  end: { readonly body: Buffer; readonly atMs: number } | undefined;
  hasWebhook: boolean;
}

export interface History {
  readonly requests: Map<string, Known>;
  nowMs: number;
}

type Step = fc.AsyncCommand<History, StoreUnderTest>;

export const newHistory = (): History => ({ requests: new Map(), nowMs: 0 });

const isWaiting = (known: Known, nowMs: number): boolean =>
  known.end === undefined && (known.claim === undefined || known.claim.untilMs <= nowMs);

/** A step with a name that a failure shows. */
function step(name: string, run: (history: History, store: StoreUnderTest) => Promise<void>): Step {
  return {
    check: () => true,
    run: async (history, store) => {
      history.nowMs += STEP_MS;
      store.advance(STEP_MS);
      await run(history, store);
    },
    toString: () => name,
  };
}

const accept = (id: string, hasWebhook: boolean): Step =>
  step(`accept(${id}${hasWebhook ? ", with webhook" : ""})`, async ({ requests }, store) => {
    const accepting = store.requests.accept(request(id, { webhookUrl: hasWebhook ? WEBHOOK : null }));
    if (requests.has(id)) return expect(accepting).rejects.toThrow(Conflict);
    await accepting;
    requests.set(id, { attempts: 0, claim: undefined, end: undefined, hasWebhook });
  });

const acceptEnded = (id: string, bodyBytes: number): Step =>
  step(`acceptEnded(${id}, ${bodyBytes} bytes)`, async ({ requests, nowMs }, store) => {
    const end = ended(nowMs, bodyBytes);
    const accepting = store.requests.accept(request(id), end);
    if (requests.has(id)) return expect(accepting).rejects.toThrow(Conflict);
    await accepting;
    const { body } = end;
    requests.set(id, { attempts: 0, claim: undefined, end: { body, atMs: nowMs }, hasWebhook: false });
  });

const claim = (id: string): Step =>
  step(`claim(${id})`, async ({ requests, nowMs }, store) => {
    const known = requests.get(id);
    const outcome = await store.requests.claim(id, "owner", LEASE_MS);
    if (known === undefined) return expect(outcome).toBe("unknown");
    if (known.end !== undefined) return expect(outcome).toBe("ended");
    if (!isWaiting(known, nowMs)) return expect(outcome).toBe("held");
    known.attempts += 1;
    expect(outcome).toMatchObject({ id, attempt: known.attempts });
    if (typeof outcome !== "string") known.claim = { claim: outcome, untilMs: nowMs + LEASE_MS };
  });

const renew = (id: string): Step =>
  step(`renew(${id})`, async ({ requests, nowMs }, store) => {
    const known = requests.get(id);
    if (known?.claim === undefined) return;
    const outcome = await store.requests.renew(known.claim.claim, LEASE_MS);
    if (known.end !== undefined) return expect(outcome).toBe("lost");
    expect(outcome).not.toBe("lost");
    if (outcome !== "lost") known.claim = { claim: outcome, untilMs: nowMs + LEASE_MS };
  });

const release = (id: string): Step =>
  step(`release(${id})`, async ({ requests }, store) => {
    const known = requests.get(id);
    if (known?.claim === undefined) return;
    await store.requests.release(known.claim.claim);
    if (known.end !== undefined) return;
    known.attempts -= 1;
    known.claim = undefined;
  });

const end = (id: string, bodyBytes: number, isCancel: boolean): Step =>
  step(`${isCancel ? "cancel" : "end"}(${id}, ${bodyBytes} bytes)`, async ({ requests, nowMs }, store) => {
    const known = requests.get(id);
    const how = ended(nowMs, bodyBytes);
    if (!isCancel && known?.claim === undefined) return;
    const isFirst =
      isCancel || known?.claim === undefined
        ? await store.requests.cancel(id, how)
        : await store.requests.end(known.claim.claim, how);
    expect(isFirst).toBe(known !== undefined && known.end === undefined);
    if (known !== undefined && known.end === undefined) known.end = { body: how.body, atMs: nowMs };
  });

const deliver = (isDone: boolean): Step =>
  step(`deliver(${isDone ? "heard" : "failed"})`, async ({ requests }, store) => {
    const due = [...requests].filter(([, { end: how, hasWebhook }]) => how !== undefined && hasWebhook);
    if (due.length === 0) return;
    const webhook = (await store.requests.nextWebhook(new AbortController().signal))!;
    expect(due.map(([id]) => id)).toContain(webhook.id);
    await store.requests.settleWebhook(webhook, isDone ? null : 0);
    if (isDone) requests.get(webhook.id)!.hasWebhook = false;
  });

const forget = ({ requests, nowMs }: History, keepMs: number): void => {
  for (const [id, { end: how, hasWebhook }] of requests)
    if (how !== undefined && !hasWebhook && how.atMs + keepMs <= nowMs) requests.delete(id);
};

const expire = (): Step =>
  step("expire", async (history, store) => {
    await store.requests.expire();
    forget(history, store.keepMs);
  });

const restart = (how: "orderly" | "crash"): Step =>
  step(`restart(${how})`, async (history, store) => {
    // What a store knows of the time is as old as its last expiry.
    await store.requests.expire();
    forget(history, store.keepMs);
    await store.restart(how);
    // The claims of a process that died go with their leases.
    store.advance(LEASE_MS);
    history.nowMs += LEASE_MS;
    for (const known of history.requests.values()) known.claim = undefined;
  });

const IDS = ["0", "1", "2", "3", "4", "5"];
const ids = fc.constantFrom(...IDS);
const sizes = fc.constantFrom(10, 200_000);

export const requestStoreCommands: fc.Arbitrary<Step>[] = [
  fc.tuple(ids, fc.boolean()).map(([id, hasWebhook]) => accept(id, hasWebhook)),
  fc.tuple(ids, sizes).map(([id, bodyBytes]) => acceptEnded(id, bodyBytes)),
  ids.map(claim),
  ids.map(renew),
  ids.map(release),
  fc.tuple(ids, sizes, fc.boolean()).map(([id, bodyBytes, isCancel]) => end(id, bodyBytes, isCancel)),
  fc.boolean().map(deliver),
  fc.constant(expire()),
  fc.constantFrom("orderly" as const, "crash" as const).map(restart),
];

interface Observed {
  readonly requests: readonly object[];
  readonly unfinished: readonly string[];
}

/** Everything that can be asked of the store. */
export async function observed({ requests: store }: StoreUnderTest): Promise<Observed> {
  const requests = await Promise.all(
    IDS.map(async (id) => {
      const [found, last] = [await store.find(id), await store.ended(id)];
      return {
        attempts: found?.attempts,
        isHeld: found?.isHeld,
        endedAtMs: found?.result?.endedAtMs,
        body: last?.body,
      };
    }),
  );
  return { requests, unfinished: await unfinishedIds(store) };
}

/** What the store has to say after this history. */
export function expected({ requests, nowMs }: History): Observed {
  return {
    requests: IDS.map((id) => {
      const known = requests.get(id);
      const how = known?.end;
      return {
        attempts: known?.attempts,
        isHeld: known === undefined ? undefined : how === undefined && !isWaiting(known, nowMs),
        endedAtMs: how?.atMs,
        body: how?.body,
      };
    }),
    unfinished: [...requests].flatMap(([id, { end: how }]) => (how === undefined ? [id] : [])).toSorted(),
  };
}
