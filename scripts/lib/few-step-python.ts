/** The table of models made for few steps as a Python module. */
import * as table from "../../src/protocol/few-step.ts";

export function fewStepModule(): string {
  const families = table.FEW_STEP_FAMILIES.map(({ kind, name, scheduler, steps, guidanceScale, isTrailing }) =>
    [
      `    ${JSON.stringify(kind)}: FewStepFamily(`,
      `        name=${pattern(name)},`,
      `        scheduler=${JSON.stringify(scheduler)},`,
      `        steps=${steps},`,
      `        guidance_scale=${decimal(guidanceScale)},`,
      `        is_trailing=${isTrailing ? "True" : "False"},`,
      "    ),",
    ].join("\n"),
  );
  return `${HEAD}

FEW_STEP_FAMILIES: Mapping[FewStepKind, FewStepFamily] = {
${families.join("\n")}
}
"""In the order in which names are looked at: the first that fits is a name's family."""

STEPS_IN_NAME = ${pattern(table.STEPS_IN_NAME)}
MOST_STEPS_IN_NAME = ${table.MOST_STEPS_IN_NAME}

GUIDED_NAME = ${pattern(table.GUIDED_NAME)}
NAMED_GUIDANCE_SCALE = ${decimal(table.NAMED_GUIDANCE_SCALE)}
`;
}

const HEAD = `"""Models that draw in few steps: how each family is known by its name, and how it is sampled by default.

Generated from \`src/protocol/few-step.ts\` by \`npm run gen\`; do not edit.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from .protocol import FewStepKind, SchedulerName


@dataclass(frozen=True, slots=True, kw_only=True)
class FewStepFamily:
    """\`name\` is looked for in lower-case names; \`is_trailing\`: timesteps begin at the very end of the schedule."""

    name: re.Pattern[str]
    scheduler: SchedulerName
    steps: int
    guidance_scale: float
    is_trailing: bool
`;

function pattern({ source }: RegExp): string {
  return `re.compile(r"${source}")`;
}

/** A float of Python also where it is whole. */
function decimal(value: number): string {
  return Number.isInteger(value) ? value.toFixed(1) : String(value);
}
