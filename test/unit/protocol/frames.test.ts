import { readFile } from "node:fs/promises";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { decodeCommand, decodeReport, encodeCommand, ProtocolError } from "../../../src/protocol/frames.ts";
import { commandMessage, reportMessage, type Report } from "../../../src/protocol/messages.ts";

interface Size {
  readonly width: number;
  readonly height: number;
}

interface Header {
  readonly type: string;
  readonly images?: readonly Size[];
  readonly inputs?: { readonly image: Size | null; readonly mask: Size | null };
}

async function golden(name: string): Promise<Record<string, Header>> {
  return JSON.parse(await readFile(new URL(`../../golden/protocol/${name}.json`, import.meta.url), "utf8"));
}

const commands = await golden("commands");
const reports = await golden("reports");

function commandPayload({ inputs }: Header): Buffer[] {
  const { image = null, mask = null } = inputs ?? {};
  return [
    ...(image === null ? [] : [Buffer.alloc(image.width * image.height * 3, 1)]),
    ...(mask === null ? [] : [Buffer.alloc(mask.width * mask.height, 2)]),
  ];
}

function payloadOf(header: Header): Buffer[] {
  return (header.images ?? []).map(({ width, height }) =>
    Buffer.alloc(header.type === "result" ? width * height * 3 : 10),
  );
}

describe("golden messages", () => {
  it.each(Object.entries(commands))("command %s survives the wire unchanged", (_name, header) => {
    const payload = commandPayload(header);
    const frames = encodeCommand(commandMessage.parse(header), payload);
    expect(decodeCommand(frames)).toEqual({ command: header, payload });
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
      const { [field]: _left, ...rest } = header as unknown as Record<string, unknown>;
      expect(() => decodeReport([Buffer.from(JSON.stringify(rest)), ...payloadOf(header)])).toThrow(ProtocolError);
    }
  });

  it("refuses payload that does not fit its header", () => {
    const result = reports["result"] as unknown as Report;
    const header = Buffer.from(JSON.stringify(result));
    expect(() => decodeReport([header])).toThrow("announces 2 payload frames and carries 0");
    expect(() => decodeReport([header, Buffer.alloc(6), Buffer.alloc(5)])).toThrow("image 1 has 5 bytes, expected 6");
    expect(() => decodeReport([Buffer.from(JSON.stringify(reports["hello"])), Buffer.alloc(1)])).toThrow(ProtocolError);
  });
  it("refuses to send a command whose payload does not fit its header", () => {
    const generate = commandMessage.parse(commands["generate"]);
    const [image, mask] = commandPayload(commands["generate"]!) as [Buffer, Buffer];
    expect(() => encodeCommand(generate, [])).toThrow("generate announces 2 payload frames and carries 0");
    expect(() => encodeCommand(generate, [mask, image])).toThrow("inputs.image has 8 bytes, expected 24");
    expect(() => encodeCommand({ type: "ping" }, [image])).toThrow(ProtocolError);
  });
});
