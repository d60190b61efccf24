/** What stores on a bus reject with, in the words of their ports. */
import { LatentcastError } from "../../errors.ts";
import { BusTimeout, BusUnavailable, StreamFull } from "../bus.ts";

/** An election takes 4 to 9 s. */
const RETRY_SECONDS = 5;

/** What is full is `storage_full`; servers that do not answer are `overloaded`, with the time after which to come again. */
export async function storing<Value>(work: () => Promise<Value>): Promise<Value> {
  try {
    return await work();
  } catch (error) {
    if (error instanceof StreamFull) throw new LatentcastError("storage_full", { cause: error });
    if (error instanceof BusUnavailable || error instanceof BusTimeout)
      throw new LatentcastError("overloaded", {
        message: "The servers that keep requests do not answer now; try again later.",
        retryAfterSeconds: RETRY_SECONDS,
        cause: error,
      });
    throw error;
  }
}
