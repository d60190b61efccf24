/** The key that all gateways of a fleet sign with: made by the first one, read by the others. */
import { randomUUID } from "node:crypto";
import { SigningKey } from "../../requests/webhook-key.ts";
import { WrongSequence, type Bus } from "../bus.ts";
import type { Layout } from "../layout.ts";

/** Another gateway's key is on its way to the disks of the servers: it can be read when it is there. */
const [READS, PAUSE_MS] = [100, 100];

/** Every gateway can read it: whoever has a gateway's credentials can sign as the fleet. */
export async function sharedSigningKey(bus: Bus, layout: Layout): Promise<SigningKey> {
  const stream = layout.streams.secrets;
  const subject = layout.secret("webhook-key");
  const read = async (): Promise<SigningKey | undefined> => {
    const known = await bus.get(stream, subject);
    return known && SigningKey.of(known.payload.toString());
  };
  const known = await read();
  if (known !== undefined) return known;
  const made = SigningKey.newPem();
  try {
    await bus.put(stream, subject, { v: 1 }, Buffer.from(made), { expected: 0, id: `secret.${randomUUID()}` });
    return SigningKey.of(made);
  } catch (error) {
    if (!(error instanceof WrongSequence)) throw error;
    for (let reads = 0; reads < READS; reads += 1) {
      const first = await read();
      if (first !== undefined) return first;
      await new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
    }
    throw error;
  }
}
