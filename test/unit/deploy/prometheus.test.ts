import { describe, expect, it } from "vitest";
import { z } from "zod";
import { deployText, deployYaml } from "../../support/deploy.ts";

const Rules = z.object({
  groups: z.array(
    z.object({
      name: z.string(),
      rules: z.array(
        z.object({
          alert: z.string(),
          expr: z.string(),
          for: z.string().optional(),
          annotations: z.object({ summary: z.string() }),
        }),
      ),
    }),
  ),
});

const alerts = Rules.parse(deployYaml("deploy/prometheus/rules.yaml")).groups.flatMap(({ rules }) => rules);
const runbook = deployText("docs/operations.md");

describe("the alerts", () => {
  it("each have a line in docs/operations.md that says what to do, and no line is left over", () => {
    const lines = [...runbook.matchAll(/^\| `(Latentcast\w+)` \| \S.{20,} \|$/gm)].map(([, name]) => name);
    expect(new Set(lines)).toEqual(new Set(alerts.map(({ alert }) => alert)));
  });

  it.each(alerts.map(({ alert, ...rule }) => [alert, rule] as const))(
    "%s says in its summary only what its expression keeps",
    (_name, { expr, annotations }) => {
      const kept = [...expr.matchAll(/by \(([^)]+)\)/g)].flatMap(([, labels = ""]) => labels.split(/, */));
      const said = [...annotations.summary.matchAll(/\$labels\.(\w+)/g)].map(([, label]) => label);
      const isAggregated = /\b(sum|max|min|avg)\b/.test(expr);
      expect(isAggregated ? said.filter((label) => !kept.includes(label ?? "")) : []).toEqual([]);
    },
  );
});
