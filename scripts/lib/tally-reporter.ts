/** A vitest reporter that writes how many passed, and each failed, skipped and flaky test by name, to the file that LATENTCAST_TALLY names. */
import { writeFileSync } from "node:fs";
import type { Reporter, SerializedError, TestModule } from "vitest/node";
import { firstLine, type Tally } from "./tally.ts";

export default class TallyReporter implements Reporter {
  onTestRunEnd(modules: readonly TestModule[], unhandled: readonly SerializedError[]): void {
    const tally: Tally = { passed: 0, failed: [], skipped: [], flaky: [] };
    for (const module of modules) {
      // A file that does not even load has no tests to count.
      for (const { message } of module.errors())
        tally.failed.push({ name: module.relativeModuleId, message: firstLine(message) });
      for (const test of module.children.allTests()) {
        const result = test.result();
        if (test.diagnostic()?.flaky === true) tally.flaky.push(test.fullName);
        if (result.state === "passed") tally.passed += 1;
        else if (result.state === "failed")
          tally.failed.push({ name: test.fullName, message: firstLine(result.errors[0]?.message ?? "") });
        else if (result.state === "skipped") tally.skipped.push({ name: test.fullName, reason: result.note ?? "" });
      }
    }
    for (const { message } of unhandled) tally.failed.push({ name: "outside of a test", message: firstLine(message) });
    const file = process.env["LATENTCAST_TALLY"];
    if (file !== undefined) writeFileSync(file, JSON.stringify(tally));
  }
}
