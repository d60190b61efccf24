/** The key that all gateways of a fleet sign with: made by the first one, read by the others. */
import { randomUUID } from "node:crypto";
import { SigningKey } from "../requests/webhook-key.ts";
import { WrongSequence, type Bus } from "./bus.ts";
import type { Layout } from "./layout.ts";

/** Every gateway can read it: whoever has a gateway's credentials can sign as the fleet. */
export async function sharedSigningKey(bus: Bus, layout: Layout): Promise<SigningKey> {
  const stream = layout.streams.secrets;
  const subject = layout.secret("webhook-key");
  const known = await bus.get(stream, subject);
  if (known !== undefined) return SigningKey.of(known.payload.toString());
  const made = SigningKey.newPem();
  try {
    await bus.put(stream, subject, { v: 1 }, Buffer.from(made), { expected: 0, id: `secret.${randomUUID()}` });
    return SigningKey.of(made);
  } catch (error) {
    if (!(error instanceof WrongSequence)) throw error;
    const first = await bus.get(stream, subject);
    if (first === undefined) throw error;
    return SigningKey.of(first.payload.toString());
  }
}
