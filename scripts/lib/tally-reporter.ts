/** A vitest reporter that writes counts, and each skipped test with its reason, to the file that LATENTCAST_TALLY names. */
import { writeFileSync } from "node:fs";
import type { Reporter, TestModule } from "vitest/node";
import type { Tally } from "./tally.ts";

export default class TallyReporter implements Reporter {
  onTestRunEnd(modules: readonly TestModule[]): void {
    const tally: Tally = { passed: 0, failed: 0, skipped: [] };
    for (const module of modules) {
      // A file that does not even load has no tests to count.
      if (module.state() === "failed" && module.errors().length > 0) tally.failed += 1;
      for (const test of module.children.allTests()) {
        const result = test.result();
        if (result.state === "passed") tally.passed += 1;
        else if (result.state === "failed") tally.failed += 1;
        else if (result.state === "skipped") tally.skipped.push({ name: test.fullName, reason: result.note ?? "" });
      }
    }
    const file = process.env["LATENTCAST_TALLY"];
    if (file !== undefined) writeFileSync(file, JSON.stringify(tally));
  }
}
