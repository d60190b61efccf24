import { readFile } from "node:fs/promises";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { decodeCommand, decodeReport, encodeCommand, ProtocolError } from "../../../src/protocol/frames.ts";
import { commandMessage, reportMessage, type Report } from "../../../src/protocol/messages.ts";

async function golden(
  name: string,
): Promise<Record<string, { type: string; images?: { width: number; height: number }[] }>> {
  return JSON.parse(await readFile(new URL(`../../golden/protocol/${name}.json`, import.meta.url), "utf8"));
}

const commands = await golden("commands");
const reports = await golden("reports");

function payloadOf(header: (typeof reports)[string]): Buffer[] {
  return (header.images ?? []).map(({ width, height }) =>
    Buffer.alloc(header.type === "result" ? width * height * 3 : 10),
  );
}

describe("golden messages", () => {
  it.each(Object.entries(commands))("command %s survives the wire unchanged", (_name, header) => {
    expect(decodeCommand(encodeCommand(commandMessage.parse(header)))).toEqual(header);
  });

  it.each(Object.entries(reports))("report %s survives the wire unchanged", (_name, header) => {
    const payload = payloadOf(header);
    expect(decodeReport([Buffer.from(JSON.stringify(header)), ...payload])).toEqual({ report: header, payload });
  });

  it("show every message there is", () => {
    const types = (schema: typeof commandMessage | typeof reportMessage): string[] =>
      schema.options.map((option) => [...option.shape.type.values][0]!);
    expect(new Set(Object.values(commands).map(({ type }) => type))).toEqual(new Set(types(commandMessage)));
    expect(new Set(Object.values(reports).map(({ type }) => type))).toEqual(new Set(types(reportMessage)));
  });
});

describe("the codec", () => {
  it("refuses bytes that are no message with one kind of error", () => {
    fc.assert(
      fc.property(fc.array(fc.uint8Array({ maxLength: 60 }), { maxLength: 3 }), (frames) => {
        expect(() => decodeReport(frames.map((frame) => Buffer.from(frame)))).toThrow(ProtocolError);
      }),
    );
  });

  it.each(Object.keys(reports))("refuses report %s with any one field missing", (name) => {
    const header = reports[name]!;
    for (const field of Object.keys(header)) {
      const { [field]: _left, ...rest } = header as Record<string, unknown>;
      expect(() => decodeReport([Buffer.from(JSON.stringify(rest)), ...payloadOf(header)])).toThrow(ProtocolError);
    }
  });

  it("refuses payload that does not fit its header", () => {
    const result = reports["result"] as unknown as Report;
    const header = Buffer.from(JSON.stringify(result));
    expect(() => decodeReport([header])).toThrow("announces 2 payload frames and carries 0");
    expect(() => decodeReport([header, Buffer.alloc(6), Buffer.alloc(5)])).toThrow("image 1 is not 6 bytes of RGB8");
    expect(() => decodeReport([Buffer.from(JSON.stringify(reports["hello"])), Buffer.alloc(1)])).toThrow(ProtocolError);
  });
});
