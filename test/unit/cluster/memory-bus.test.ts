import { describe } from "vitest";
import { busContract } from "../../contract/bus.ts";
import { openMemoryStreams } from "../../support/memory-streams.ts";

describe("the bus in memory", () => {
  busContract(openMemoryStreams, 200);
});
