import { expect, it } from "vitest";
import { Changes } from "../../../src/async/changes.ts";

it("an announcement wakes all waiters, and a signal only its own", async () => {
  const changes = new Changes();
  const stop = new AbortController();
  const woken: string[] = [];
  const all = [
    changes.next().then(() => woken.push("a")),
    changes.next().then(() => woken.push("b")),
    changes.next(stop.signal).then(() => woken.push("stopped")),
  ];
  stop.abort();
  await all[2];
  expect(woken).toEqual(["stopped"]);
  changes.announce();
  await Promise.all(all);
  expect(woken).toEqual(["stopped", "a", "b"]);
  await changes.next(stop.signal);
});
