/** The pools of a fleet as an operator sees them. */
import { TICKET_CLASSES, type Layout } from "../layout.ts";
import type { Bus } from "../bus.ts";
import { poolRecord, type NodeBeat } from "../wire.ts";

export interface PoolStatus {
  /** Null until a node has joined. */
  readonly model: string | null;
  /** Nodes that take work. */
  readonly nodes: number;
  /** Tickets that nobody has, and those that a node has. */
  readonly waiting: number;
  readonly taken: number;
}

/** What each pool draws, by its record. */
export async function poolModels(bus: Bus, layout: Layout): Promise<Map<string, string>> {
  const models = new Map<string, string>();
  const stop = new AbortController();
  const records = bus.watch(layout.streams.state, layout.everyPool, { signal: stop.signal, headersOnly: true });
  for await (const stored of records) {
    if (stored === "caught-up") break;
    const { data } = poolRecord.safeParse(stored.header);
    if (data !== undefined) models.set(layout.poolAt(stored.subject), data.serving.model.id);
  }
  stop.abort();
  return models;
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

/** Where no pool has a node, that is said once, of the fleet. */
export function poolProblems(pools: Readonly<Record<string, PoolStatus>>): string[] {
  const all = Object.entries(pools);
  if (all.every(([, { nodes }]) => nodes === 0)) return [];
  const deserted = all.filter(([, { nodes, model, waiting }]) => nodes === 0 && (model !== null || waiting > 0));
  return deserted.map(
    ([name, { waiting }]) => `no node of pool ${name} takes work${waiting === 0 ? "" : `, and ${waiting} wait`}`,
  );
}
