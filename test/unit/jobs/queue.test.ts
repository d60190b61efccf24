import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { JobQueue } from "../../../src/jobs/queue.ts";
import { job } from "../../support/builders.ts";

describe("the queue", () => {
  it("serves returned jobs, then normal, then low ones, each by age", () => {
    fc.assert(
      fc.property(fc.array(fc.constantFrom("normal", "low", "returned"), { maxLength: 30 }), (kinds) => {
        const queue = new JobQueue();
        const all = kinds.map((kind, index) => ({
          kind,
          job: job({ id: String(index), priority: kind === "low" ? "low" : "normal" }),
        }));
        for (const entry of all) if (entry.kind !== "returned") queue.add(entry.job);
        queue.giveBack(all.filter(({ kind }) => kind === "returned").map((entry) => entry.job));
        const expected = ["returned", "normal", "low"].flatMap((kind) =>
          all.filter((entry) => entry.kind === kind).map((entry) => entry.job.id),
        );
        expect([...queue].map(({ id }) => id)).toEqual(expected);
      }),
    );
  });

  it("removes a job once, and survives removal while it is being walked", () => {
    const queue = new JobQueue();
    const jobs = [job(), job(), job()];
    for (const each of jobs) queue.add(each);
    for (const each of queue) queue.remove(each);
    expect(queue.size).toBe(0);
    expect(queue.remove(jobs[0]!)).toBe(false);
  });
});
