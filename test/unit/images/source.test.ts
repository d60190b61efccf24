import { describe, expect, it } from "vitest";
import { InputMemory } from "../../../src/images/input-memory.ts";
import { InputReader, type InputReaderOptions } from "../../../src/images/source.ts";
import { Unfetchable } from "../../../src/net/fetch-image.ts";
import { dataUri, twoColours } from "../../support/images.ts";

const PNG = await twoColours(16, 8, "red", "blue");
const ELSEWHERE = "https://images.example/a.png";
const LIMIT = 2 ** 20;

function subject(options: Partial<InputReaderOptions> = {}) {
  const memory = new InputMemory(LIMIT);
  const files = new Map([["mine.png", PNG]]);
  const source = new InputReader({ memory, readFile: async (key) => files.get(key), ...options });
  return { memory, source };
}

async function* chunksOf(bytes: Buffer): AsyncGenerator<Buffer> {
  for (let start = 0; start < bytes.byteLength; start += 20) yield bytes.subarray(start, start + 20);
}

describe("an address of an image", () => {
  it("leads to a data URI or a file of this server, under whatever name", async () => {
    const { source } = subject();
    for (const address of [dataUri(PNG), "/files/mine.png", "https://other.example/files/mine.png"]) {
      const opened = await source.open({ image_url: address });
      expect(opened?.inputs.size).toEqual({ width: 16, height: 8 });
      expect(opened?.files).toEqual({ image: PNG, mask: null });
    }
    expect(await source.open({})).toBeUndefined();
  });

  it("elsewhere is not fetched unless that is switched on", async () => {
    const refused = subject().source.open({ image_url: ELSEWHERE });
    await expect(refused).rejects.toMatchObject({
      code: "invalid_request",
      fields: [{ loc: ["body", "image_url"], type: "unsupported_address" }],
    });
    const asked: string[] = [];
    const { source } = subject({
      fetchImage: (address) => {
        asked.push(address);
        return chunksOf(PNG);
      },
    });
    const opened = await source.open({ image_url: ELSEWHERE, mask_url: "http://images.example/m.png" });
    expect(opened?.inputs.hasMask).toBe(true);
    await source.open({ image_url: "https://other.example/files/mine.png" });
    // Not even then what is no address of the web, nor what is ours.
    for (const image_url of ["file:///etc/passwd", "ftp://a.example/a.png", "/files/gone.png", "a.png"])
      await expect(source.open({ image_url })).rejects.toMatchObject({ code: "invalid_request" });
    expect(asked).toEqual([ELSEWHERE, "http://images.example/m.png"]);
  });

  it("that cannot be fetched is told by its field", async () => {
    const { source, memory } = subject({
      fetchImage: async function* () {
        yield PNG;
        throw new Unfetchable("was not there within 10 s");
      },
    });
    await expect(source.open({ image_url: dataUri(PNG), mask_url: ELSEWHERE })).rejects.toMatchObject({
      message: "mask_url: was not there within 10 s",
      fields: [{ loc: ["body", "mask_url"], type: "unfetchable_image" }],
    });
    expect(memory.heldBytes).toBe(0);
  });

  it("is given up with its client", async () => {
    const gone = AbortSignal.abort();
    const { source } = subject({
      fetchImage: async function* (_, signal) {
        yield PNG;
        signal?.throwIfAborted();
      },
    });
    await expect(source.open({ image_url: ELSEWHERE }, gone)).rejects.toMatchObject({ code: "cancelled" });
  });
});

describe("the memory that images hold", () => {
  it("is that of the pixels, until they are released", async () => {
    const { source, memory } = subject();
    const opened = await source.open({ image_url: dataUri(PNG), mask_url: dataUri(PNG) });
    expect(memory.heldBytes).toBe(16 * 8 * 4);
    await opened?.inputs.fit({ width: 8, height: 8 });
    expect(memory.heldBytes).toBe(8 * 8 * 4);
    expect(opened?.inputs.frames?.map(({ byteLength }) => byteLength)).toEqual([8 * 8 * 3, 8 * 8]);
    opened?.inputs.release();
    expect([memory.heldBytes, opened?.inputs.frames]).toEqual([0, undefined]);
  });

  it("is asked for by the size that was asked for, before anything is as large", async () => {
    const { source, memory } = subject();
    const opened = await source.open({ image_url: dataUri(PNG), width: 512 });
    expect(memory.heldBytes).toBe(512 * 2_048 * 3);
    await expect(source.open({ image_url: dataUri(PNG), width: 512, height: 512 })).rejects.toMatchObject({
      code: "queue_full",
    });
    await opened?.inputs.fit({ width: 512, height: 256 });
    expect(memory.heldBytes).toBe(512 * 256 * 3);
  });

  it("is full for an image elsewhere while it still comes", async () => {
    let chunks = 0;
    const { source, memory } = subject({
      fetchImage: async function* () {
        for (;;) {
          chunks += 1;
          yield Buffer.alloc(LIMIT / 4);
        }
      },
    });
    memory.open().claim(1);
    await expect(source.open({ image_url: ELSEWHERE })).rejects.toMatchObject({ code: "queue_full" });
    expect([memory.heldBytes, chunks]).toEqual([1, 4]);
  });

  it("is given back where the image cannot be read", async () => {
    const { source, memory } = subject();
    const refused = source.open({ image_url: dataUri(PNG), mask_url: dataUri(Buffer.from("no image")) });
    await expect(refused).rejects.toMatchObject({ fields: [{ loc: ["body", "mask_url"] }] });
    expect(memory.heldBytes).toBe(0);
  });

  it("does not refuse what was accepted before", async () => {
    const { source, memory } = subject();
    memory.open().claim(LIMIT);
    const inputs = await source.reopen({ image: PNG, mask: null }, {});
    expect(memory.heldBytes).toBe(LIMIT + 16 * 8 * 3);
    inputs.release();
    expect(memory.heldBytes).toBe(LIMIT);
  });

  it("is not taken again by a release that comes before the fitting ends", async () => {
    const { source, memory } = subject();
    const opened = await source.open({ image_url: dataUri(PNG) });
    const fitting = opened?.inputs.fit({ width: 64, height: 64 });
    opened?.inputs.release();
    await fitting;
    expect([memory.heldBytes, opened?.inputs.frames]).toEqual([0, undefined]);
  });
});
