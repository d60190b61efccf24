/** The parts of a `multipart/form-data` body in their order. A name may come more than once. */

export interface FormPart {
  readonly name: string;
  /** Text, the value of a part that is JSON, or a file's bytes as a Buffer. */
  readonly value: unknown;
}

export class MultipartForm {
  readonly parts: readonly FormPart[];

  constructor(parts: readonly FormPart[]) {
    this.parts = parts;
  }

  /** The files that have one of these names. A text of such a name is not one. */
  files(...names: readonly string[]): readonly Buffer[] {
    return this.parts.flatMap(({ name, value }) => (names.includes(name) && Buffer.isBuffer(value) ? [value] : []));
  }

  /** All other parts by name; those of one name as a list. */
  fieldsBeside(...fileNames: readonly string[]): Readonly<Record<string, unknown>> {
    const byName = new Map<string, unknown[]>();
    for (const { name, value } of this.parts) {
      if (!fileNames.includes(name) || !Buffer.isBuffer(value)) byName.set(name, [...(byName.get(name) ?? []), value]);
    }
    return Object.fromEntries([...byName].map(([name, values]) => [name, values.length === 1 ? values[0] : values]));
  }
}
