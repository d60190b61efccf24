import { describe, expect, it } from "vitest";
import { formatTraceparent, parseTraceparent } from "../../../src/observability/trace-context.ts";

const TRACE = "4bf92f3577b34da6a3ce929d0e0e4736";
const SPAN = "00f067aa0ba902b7";

describe("parseTraceparent", () => {
  it("reads what formatTraceparent writes", () => {
    const context = { traceId: TRACE, spanId: SPAN, traceFlags: 1, isRemote: true };
    expect(parseTraceparent(formatTraceparent(context))).toEqual(context);
  });

  it("takes a later version's additions, and keeps of the flags only `sampled`", () => {
    expect(parseTraceparent(`cc-${TRACE}-${SPAN}-03-more`)).toMatchObject({ traceId: TRACE, traceFlags: 1 });
    expect(parseTraceparent(`00-${TRACE}-${SPAN}-02`)).toMatchObject({ traceFlags: 0 });
  });

  it.each([
    "",
    "junk",
    `ff-${TRACE}-${SPAN}-01`,
    `00-${"0".repeat(32)}-${SPAN}-01`,
    `00-${TRACE}-${"0".repeat(16)}-01`,
    `00-${TRACE.toUpperCase()}-${SPAN}-01`,
    `00-${TRACE}-${SPAN}`,
  ])("takes %j for no trace context", (header) => {
    expect(parseTraceparent(header)).toBeUndefined();
  });
});
