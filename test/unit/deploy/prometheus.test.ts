import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { execa } from "execa";
import { beforeEach, describe, expect, it } from "vitest";
import { stringify } from "yaml";
import { z } from "zod";
import { isHere } from "../../../scripts/lib/tally.ts";
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

/** Cases for promtool. */
const CASES = "test/unit/deploy/alerts.yaml";
const Cases = z.looseObject({
  tests: z.array(
    z.looseObject({
      promql_expr_test: z.array(z.looseObject({ expr: z.string(), exp_samples: z.array(z.unknown()).optional() })),
    }),
  ),
});
const Dashboard = z.looseObject({
  panels: z.array(z.looseObject({ targets: z.array(z.looseObject({ expr: z.string() })).optional() })),
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

  it("each have a case in which they fire", () => {
    const queries = Cases.parse(deployYaml(CASES)).tests.flatMap((test) => test.promql_expr_test);
    const firing = queries
      .filter(({ exp_samples: samples = [] }) => samples.length > 0)
      .map(({ expr }) => /alertname="(\w+)"/.exec(expr)?.[1]);
    expect(new Set(firing)).toEqual(new Set(alerts.map(({ alert }) => alert)));
  });
});

describe("to Prometheus's own promtool", () => {
  beforeEach((context) => {
    if (!isHere("promtool")) context.skip("needs promtool");
  });

  it("the alerts fire when they should, and only then", async () => {
    const { all, exitCode } = await execa("promtool", ["test", "rules", CASES], { all: true, reject: false });
    expect({ exitCode, all }).toMatchObject({ exitCode: 0 });
  });

  it("the queries of all panels make sense", async () => {
    const { panels } = Dashboard.parse(JSON.parse(deployText("deploy/grafana/latentcast.json")));
    const rules = panels
      .flatMap(({ targets = [] }) => targets)
      .map(({ expr }, index) => ({ record: `panel:query:${index}`, expr: asSent(expr) }));
    const folder = await mkdtemp(join(tmpdir(), "latentcast-panels-"));
    try {
      const file = join(folder, "panels.yaml");
      await writeFile(file, stringify({ groups: [{ name: "panels", rules }] }));
      const { all, exitCode } = await execa("promtool", ["check", "rules", file], { all: true, reject: false });
      expect({ exitCode, all }).toMatchObject({ exitCode: 0 });
      expect(all).toContain(`${rules.length} rules found`);
    } finally {
      await rm(folder, { recursive: true });
    }
  });
});

/** A query with what Grafana puts in place of its variables. */
function asSent(expr: string): string {
  return expr.replaceAll("$__rate_interval", "1m").replaceAll("$job", ".+");
}
