/** Whether there is room for a new request: nobody waits for an answer that could not matter. */
import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { BusUnavailable } from "../../../src/cluster/bus.ts";
import { StreamRoom } from "../../../src/cluster/storage/stream-room.ts";

let bytes: number;
let fill: () => Promise<void>;
let asked: number;
let room: StreamRoom;
beforeEach(async () => {
  vi.useFakeTimers({ toFake: ["performance"] });
  [bytes, asked, fill] = [10, 0, () => Promise.resolve()];
  const reading = async () => {
    asked += 1;
    await fill();
    return { bytes, maxBytes: 100, messages: 1, firstSequence: 1, awayServers: [] };
  };
  room = new StreamRoom({ fill: reading }, ["s"]);
  await room.check();
});
afterEach(() => void vi.useRealTimers());

const never = (): Promise<void> => new Promise(() => undefined);
const full = { code: "storage_full" };

it("is asked once a second, and nobody waits for the answer while half is free", async () => {
  vi.advanceTimersByTime(999);
  await room.check();
  expect(asked).toBe(1);
  vi.advanceTimersByTime(1);
  fill = never;
  await room.check();
  await room.check();
  expect(asked).toBe(2);
});

it("is waited for when less than half was free, be it by what this process wrote", async () => {
  room.took("s", 45);
  vi.advanceTimersByTime(1_000);
  bytes = 85;
  await expect(room.check()).rejects.toMatchObject(full);
});

it("refuses from the answer on that nobody waited for, until there is room", async () => {
  vi.advanceTimersByTime(1_000);
  bytes = 85;
  await room.check();
  await vi.waitFor(() => expect(room.check()).rejects.toMatchObject(full));
  bytes = 70;
  await room.check();
});

it("is waited for after half a minute, so that servers that do not answer are noticed", async () => {
  fill = () => Promise.reject(new BusUnavailable("no answer"));
  vi.advanceTimersByTime(29_999);
  await room.check();
  vi.advanceTimersByTime(1);
  await expect(room.check()).rejects.toThrow(BusUnavailable);
});
