/** Bytes inside JSON. They stay bytes until the JSON is written: as text, an image of 400 kB would be copied and searched four times. */
export class Base64 {
  readonly bytes: Buffer;
  /** What the text begins with, such as the head of a data URI; ASCII that JSON does not escape. */
  readonly prefix: string;

  constructor(bytes: Buffer, prefix = "") {
    this.bytes = bytes;
    this.prefix = prefix;
  }

  get length(): number {
    return this.prefix.length + 4 * Math.ceil(this.bytes.byteLength / 3);
  }

  /** `JSON.stringify` writes the same text as the writers in json.ts, only slower. */
  toJSON(): string {
    return this.prefix + this.bytes.toString("base64");
  }

  /** @returns The position after the text. */
  writeTo(target: Buffer, at: number): number {
    const end = at + target.write(this.prefix, at, "latin1");
    return end + target.write(this.bytes.toString("base64"), end, "latin1");
  }
}
