/** The pools of a fleet as an operator sees them. */
import { TICKET_CLASSES, type Layout } from "../layout.ts";
import { BusUnavailable, type Bus } from "../bus.ts";
import { poolRecord, type NodeBeat } from "../wire.ts";

/** A watch has no end of its own: the servers may lose their majority under it. */
const PATIENCE_MS = 10_000;

export interface PoolStatus {
  /** Null until a node has joined. */
  readonly model: string | null;
  /** Nodes that take work. */
  readonly nodes: number;
  /** Tickets that nobody has, and those that a node has. */
  readonly waiting: number;
  readonly taken: number;
}

/** What each pool draws, by its record. Rejects with {@link BusUnavailable} when the servers do not say. */
export async function poolModels(bus: Bus, layout: Layout): Promise<Map<string, string>> {
  const models = new Map<string, string>();
  const signal = AbortSignal.timeout(PATIENCE_MS);
  const records = bus.watch(layout.streams.state, layout.everyPool, { signal, headersOnly: true });
  for await (const stored of records) {
    if (stored === "caught-up") return models;
    const { data } = poolRecord.safeParse(stored.header);
    if (data !== undefined) models.set(layout.poolAt(stored.subject), data.serving.model.id);
  }
  throw new BusUnavailable("the records of pools cannot be read");
}

/** Rejects with a `BusRefusal` where the pool has no queue. */
export async function poolStatus(
  bus: Bus,
  layout: Layout,
  { pool, model, nodes }: { readonly pool: string; readonly model: string | null; readonly nodes: readonly NodeBeat[] },
): Promise<PoolStatus> {
  const pending = await Promise.all(TICKET_CLASSES.map((each) => bus.pending(layout.tickets(pool, each))));
  return {
    model,
    nodes: nodes.filter((node) => node.pool === pool && node.state === "ready").length,
    waiting: pending.reduce((sum, { waiting }) => sum + waiting, 0),
    taken: pending.reduce((sum, { delivered }) => sum + delivered, 0),
  };
}

/**
 * Of pools with models of one name, requests that name it come to one only.
 * @param own The pools of the gateways: each prefers its own.
 */
export function sharedNames(pools: Readonly<Record<string, PoolStatus>>, own: readonly string[]): string[] {
  const byModel = new Map<string, string[]>();
  for (const [pool, { model }] of Object.entries(pools))
    if (model !== null) byModel.set(model, [...(byModel.get(model) ?? []), pool]);
  return [...byModel].flatMap(([model, rivals]) => {
    if (rivals.length === 1) return [];
    const sorted = rivals.toSorted((a, b) => a.localeCompare(b));
    const first = sorted.find((pool) => (pools[pool]?.nodes ?? 0) > 0) ?? sorted[0];
    const takers = [...new Set(own.map((pool) => (rivals.includes(pool) ? pool : first)))];
    const where = takers.length > 1 ? `${takers.join(" or ")}, by the gateway's own pool` : takers.join("");
    return [
      `pools ${sorted.join(", ")} have models of one name, ${JSON.stringify(model)}: requests that name it go to ${where}. Give the others' models names of their own, or stop their nodes and run \`latentcast cluster forget --pool\``,
    ];
  });
}

/** Where no pool has a node, that is said once, of the fleet. */
export function poolProblems(pools: Readonly<Record<string, PoolStatus>>): string[] {
  const all = Object.entries(pools);
  if (all.every(([, { nodes }]) => nodes === 0)) return [];
  const deserted = all.filter(([, { nodes, model, waiting }]) => nodes === 0 && (model !== null || waiting > 0));
  return deserted.map(
    ([name, { waiting }]) => `no node of pool ${name} takes work${waiting === 0 ? "" : `, and ${waiting} wait`}`,
  );
}
