/**
 * What all nodes of a pool have in common, so that the same seed gives the same image on each and a gateway knows the model even while no
 * node is up. The first node writes it; one that differs takes no work while others of the pool live.
 */
import { createHash, randomUUID } from "node:crypto";
import { WrongSequence, type Bus, type Stored } from "../bus.ts";
import type { Layout } from "../layout.ts";
import { poolRecord, WIRE_VERSION, type PoolRecord } from "../wire.ts";

/** Everything that decides an image besides the request. */
export interface PoolFacts {
  readonly serving: PoolRecord["serving"];
  readonly shortcuts: readonly string[];
  /** Of each device. */
  readonly dtypes: readonly string[];
  /** As configured; null measures it. */
  readonly maxBatch: number | null;
}

export function fingerprintOf({ serving, shortcuts, dtypes, maxBatch }: PoolFacts): string {
  const { examples: _examples, vocabulary: _vocabulary, ...model } = serving.model;
  const facts = {
    model,
    decoders: serving.preview_decoders.toSorted(),
    shortcuts: shortcuts.toSorted(),
    dtypes: [...new Set(dtypes)].toSorted(),
    maxBatch,
  };
  return createHash("sha256").update(JSON.stringify(facts)).digest("hex").slice(0, 16);
}

/** Undefined while no node has written it. */
export async function readPool(bus: Bus, layout: Layout, pool: string): Promise<PoolRecord | undefined> {
  const stored = await bus.get(layout.streams.state, layout.pool(pool));
  return stored === undefined ? undefined : poolRecord.parse(stored.header);
}

/** The record was written by a release whose messages this one does not understand. */
const OF_ANOTHER_VERSION = "of another version";

/**
 * Resolves with the fingerprint that holds: this node's own, or that of others which it has to match.
 * @param mayReplace No other node of the pool lives, so a record that differs is of earlier days.
 */
export async function joinPool(
  bus: Bus,
  layout: Layout,
  { pool, facts, mayReplace }: { readonly pool: string; readonly facts: PoolFacts; readonly mayReplace: boolean },
): Promise<string> {
  const own: PoolRecord = { v: WIRE_VERSION, fingerprint: fingerprintOf(facts), serving: facts.serving };
  const subject = layout.pool(pool);
  const stored = await bus.get(layout.streams.state, subject);
  const there = stored === undefined ? undefined : fingerprintIn(stored);
  if (there !== undefined && (there === own.fingerprint || !mayReplace)) return there;
  const id = `pool.${pool}.${randomUUID()}`;
  try {
    await bus.put(layout.streams.state, subject, own, Buffer.alloc(0), { expected: stored?.sequence ?? 0, id });
    return own.fingerprint;
  } catch (error) {
    if (!(error instanceof WrongSequence)) throw error;
    // Another node was faster; what it wrote holds.
    const now = await bus.get(layout.streams.state, subject);
    return now === undefined ? own.fingerprint : fingerprintIn(now);
  }
}

function fingerprintIn({ header }: Stored): string {
  return poolRecord.safeParse(header).data?.fingerprint ?? OF_ANOTHER_VERSION;
}
