/** A store of requests as a fleet shares it, kept by SQLite: for laws about gateways and nodes that hold on any store. */
import { EventEmitter, on } from "node:events";
import type { FleetRequestStore, RequestState } from "../../src/cluster/storage/fleet-requests.ts";
import type { AcceptedRequest } from "../../src/storage/request-record.ts";
import type { Claim, Ended, RequestStore } from "../../src/storage/request-store.ts";
import type { InputFiles } from "../../src/images/source.ts";

export function fleetStore(store: RequestStore): FleetRequestStore {
  const states = new Map<string, RequestState>();
  const changes = new EventEmitter().setMaxListeners(0);
  let revision = 0;
  const note = async (id: string): Promise<number> => {
    const stored = await store.find(id);
    if (stored === undefined) return 0;
    revision += 1;
    const { request, holder, result } = stored;
    const { app, pool = null, owner, priority, acceptedAtMs, startByMs, webhookUrl } = request;
    const kind = result !== null ? "ended" : holder === null ? "queued" : "running";
    const tickets = states.get(id)?.tickets ?? 1;
    const isHookDue = kind === "ended" && webhookUrl !== null;
    const state = {
      id,
      revision,
      kind,
      app,
      pool,
      owner,
      priority,
      acceptedAtMs,
      startByMs,
      holder,
      tickets,
      isHookDue,
    } as const;
    states.set(id, state);
    changes.emit("change", state);
    return state.revision;
  };
  /** The store's own counts, by the counts that are given out. */
  const own = new Map<number, number>();
  const given = async (claim: Claim): Promise<Claim> => {
    const shown = await note(claim.id);
    own.set(shown, claim.revision);
    return { ...claim, revision: shown };
  };
  const inner = (claim: Claim): Claim => ({ ...claim, revision: own.get(claim.revision) ?? -1 });
  return {
    find: (id) => store.find(id),
    ended: (id) => store.ended(id),
    inputFiles: (id) => store.inputFiles(id),
    unfinished: () => store.unfinished(),
    nextWebhook: (signal) => store.nextWebhook(signal),
    settleWebhook: (webhook, retryInMs) => store.settleWebhook(webhook, retryInMs),
    expire: () => store.expire(),
    remindOfWebhook: () => Promise.resolve(),
    async accept(request: AcceptedRequest, ended?: Ended, files?: InputFiles) {
      await store.accept(request, ended, files);
      await note(request.id);
    },
    async claim(...args) {
      const claim = await store.claim(...args);
      return typeof claim === "string" ? claim : given(claim);
    },
    async renew(claim, leaseMs) {
      const renewed = await store.renew(inner(claim), leaseMs);
      return renewed === "lost" ? renewed : given(renewed);
    },
    async release(claim) {
      await store.release(inner(claim));
      await note(claim.id);
    },
    async end(claim, ended) {
      const isFirst = await store.end(inner(claim), ended);
      if (isFirst) await note(claim.id);
      return isFirst;
    },
    async cancel(id, ended) {
      const isFirst = await store.cancel(id, ended);
      if (isFirst) await note(id);
      return isFirst;
    },
    async countTicket(id, expected) {
      const state = states.get(id);
      if (state?.revision !== expected) return undefined;
      states.set(id, { ...state, tickets: state.tickets + 1 });
      await note(id);
      return state.tickets + 1;
    },
    async *watch(signal) {
      const news = on(changes, "change", { signal });
      yield* [...states.values()];
      yield "caught-up";
      try {
        for await (const [state] of news) yield state as RequestState;
      } catch (error) {
        if (!signal.aborted) throw error;
      }
    },
  };
}
