/** Zod object schemas as Python: frozen dataclasses, and functions that read them from JSON with every field checked. */
import { z } from "zod";

/** What is to be written. Names of Python are those of the TypeScript exports in Python's spelling. */
export interface PythonSource {
  readonly doc: string;
  readonly constants: Readonly<Record<string, number>>;
  /** Exported enums and objects by their TypeScript name; whatever else names one of them refers to its class. */
  readonly named: Readonly<Record<string, z.ZodType>>;
  /** An object whose fields others begin with: they become its subclasses. */
  readonly base?: z.ZodObject;
  /** Unions of messages tagged by `type`. One that is `read` gets a function `read_NAME`. */
  readonly unions?: readonly {
    readonly name: string;
    readonly schema: z.ZodDiscriminatedUnion;
    readonly read: boolean;
  }[];
  /** Objects that get a reader of their own, `read_NAME`. */
  readonly read?: readonly string[];
}

const LINE = 120;

export function pythonModule(source: PythonSource): string {
  const writer = new Writer(source);
  return writer.text();
}

class Writer {
  readonly #source: PythonSource;
  readonly #names = new Map<z.ZodType, string>();
  readonly #written = new Set<z.ZodObject>();
  readonly #classes: string[] = [];
  readonly #readers = new Map<string, string>();
  readonly #enumsRead = new Set<string>();
  #usesMapping = false;

  constructor(source: PythonSource) {
    this.#source = source;
    for (const [name, schema] of Object.entries(source.named)) this.#names.set(schema, pascal(name));
  }

  text(): string {
    const { base, constants, named, unions = [], read = [] } = this.#source;
    if (base !== undefined) this.#addClass(base);
    // Messages follow with their union.
    for (const schema of Object.values(named)) {
      if (schema instanceof z.ZodObject && tagOf(schema) === undefined) this.#addClass(schema);
    }
    const aliases: string[] = [];
    const unionReaders: string[] = [];
    for (const { name, schema, read: isRead } of unions) {
      const members = schema.options.map((option) => this.#message(option));
      aliases.push(assignment(`${name}: TypeAlias`, members));
      if (isRead) unionReaders.push(this.#unionReader(name, schema));
    }
    for (const name of read) {
      const schema = named[name];
      if (schema instanceof z.ZodObject) this.#addReader(schema);
    }
    const enums = Object.entries(named).flatMap(([name, schema]) =>
      schema instanceof z.ZodEnum ? [[pascal(name), schema] as const] : [],
    );
    const literals = enums.map(([name, schema]) =>
      literal(
        name,
        schema.options.map((value) => quoted(String(value))),
      ),
    );
    const choices = enums
      .filter(([name]) => this.#enumsRead.has(name))
      .map(([name]) => `${choicesName(name)}: tuple[${name}, ...] = get_args(${name})`);
    const numbers = Object.entries(constants).map(([name, value]) => `${name} = ${value}`);
    const typing = [
      "Literal",
      ...(aliases.length > 0 ? ["TypeAlias"] : []),
      ...(choices.length > 0 ? ["get_args"] : []),
    ];
    const head = [
      `"""${this.#source.doc}\n"""`,
      "from __future__ import annotations",
      [
        ...(this.#usesMapping ? ["from collections.abc import Mapping"] : []),
        "from dataclasses import dataclass",
        `from typing import ${typing.join(", ")}`,
      ].join("\n"),
      `from .fields import ${unionReaders.length > 0 ? "FieldError, " : ""}Fields`,
      ...[numbers, literals, choices].filter((lines) => lines.length > 0).map((lines) => lines.join("\n")),
    ].join("\n\n");
    const parts = [head, ...this.#classes, aliases.join("\n"), ...unionReaders, ...this.#readers.values()];
    return `${parts.filter((part) => part !== "").join("\n\n\n")}\n`;
  }

  #message(schema: z.core.SomeType): string {
    if (!(schema instanceof z.ZodObject)) throw new TypeError("a message is not an object");
    this.#addClass(schema);
    return this.#name(schema);
  }

  /** Writes a class after those of its fields, once. */
  #addClass(schema: z.ZodObject): void {
    if (this.#written.has(schema)) return;
    this.#written.add(schema);
    for (const [, type] of fieldsOf(schema)) {
      const value = type instanceof z.ZodNullable ? inner(type) : type instanceof z.ZodArray ? element(type) : type;
      if (value instanceof z.ZodObject) this.#addClass(value);
    }
    const tag = tagOf(schema);
    const name = tag === undefined ? this.#name(schema) : pascal(tag);
    this.#names.set(schema, name);
    const base = this.#baseOf(schema);
    const lines = [
      "@dataclass(frozen=True, slots=True, kw_only=True)",
      `class ${name}${base === undefined ? "" : `(${this.#name(base)})`}:`,
      ...(schema.description === undefined ? [] : [...docstring(schema.description), ""]),
    ];
    for (const [field, type] of fieldsOf(schema)) {
      if (base !== undefined && field in base.shape) continue;
      lines.push(`    ${field}: ${this.#type(type)}${defaultOf(type)}`);
      if (type.description !== undefined && !this.#names.has(type)) lines.push(...docstring(type.description));
    }
    this.#classes.push(lines.join("\n"));
  }

  #type(schema: z.ZodType): string {
    const name = this.#names.get(schema);
    if (name !== undefined) return name;
    if (schema instanceof z.ZodNullable) return `${this.#type(inner(schema))} | None`;
    if (schema instanceof z.ZodArray) return `tuple[${this.#type(element(schema))}, ...]`;
    if (schema instanceof z.ZodLiteral) return `Literal[${quoted(String(schema.value))}]`;
    if (schema instanceof z.ZodString) return "str";
    if (schema instanceof z.ZodBoolean) return "bool";
    if (schema instanceof z.ZodNull) return "None";
    if (schema instanceof z.ZodNumber) return z.toJSONSchema(schema).type === "integer" ? "int" : "float";
    if (schema instanceof z.ZodUnion) {
      return schema.options.map((option) => this.#type(asType(option))).join(" | ");
    }
    if (schema instanceof z.ZodRecord) {
      this.#usesMapping = true;
      return `Mapping[str, ${this.#type(asType(schema.valueType))}]`;
    }
    throw new TypeError(`no Python type for ${schema.type}`);
  }

  #unionReader(name: string, schema: z.ZodDiscriminatedUnion): string {
    const cases = schema.options.flatMap((option) => {
      if (!(option instanceof z.ZodObject)) throw new TypeError("a message is not an object");
      const isEmpty = Object.keys(option.shape).length === 1;
      const read = isEmpty ? `${this.#name(option)}()` : `${this.#addReader(option)}(fields)`;
      return [`        case ${quoted(tagOf(option) ?? "")}:`, `            return ${read}`];
    });
    return [
      `def read_${snake(name)}(value: object) -> ${name}:`,
      `    """Reads a ${snake(name)} from JSON and ignores fields that it does not have. Raises FieldError naming the field."""`,
      '    fields = Fields(value, "message")',
      '    match fields.text("type"):',
      ...cases,
      "        case other:",
      `            raise FieldError(f"unknown ${snake(name)} {other[:40]!r}")`,
    ].join("\n");
  }

  /** The name of the function that reads an object of this schema; it is written if it was not yet. */
  #addReader(schema: z.ZodObject): string {
    const name = this.#name(schema);
    const isPublic = this.#source.read?.some((read) => pascal(read) === name) === true || schema === this.#source.base;
    const reader = `${isPublic ? "" : "_"}read_${snake(name)}`;
    if (this.#readers.has(reader)) return reader;
    this.#readers.set(reader, "");
    const reads = fieldsOf(schema)
      .filter(([, type]) => !(type instanceof z.ZodLiteral))
      .map(([field, type]) => `        ${field}=${this.#read(field, type)},`);
    this.#readers.set(
      reader,
      [`def ${reader}(fields: Fields) -> ${name}:`, `    return ${name}(`, ...reads, "    )"].join("\n"),
    );
    return reader;
  }

  #read(field: string, schema: z.ZodType): string {
    const key = quoted(field);
    if (schema instanceof z.ZodNullable) {
      const value = inner(schema);
      if (value instanceof z.ZodEnum) return `fields.optional_choice(${key}, ${this.#choices(value)})`;
      return `None if fields.is_null(${key}) else ${this.#read(field, value)}`;
    }
    if (schema instanceof z.ZodEnum) return `fields.choice(${key}, ${this.#choices(schema)})`;
    if (schema instanceof z.ZodObject) return `${this.#addReader(schema)}(fields.nested(${key}))`;
    if (schema instanceof z.ZodString) return `fields.text(${key}${argument("min_length", schema.minLength)})`;
    if (schema instanceof z.ZodNumber) return numberRead(key, schema);
    if (schema instanceof z.ZodArray) {
      const item = element(schema);
      if (item instanceof z.ZodEnum) return `fields.choices(${key}, ${this.#choices(item)})`;
      if (item instanceof z.ZodString) return `fields.texts(${key})`;
      if (item instanceof z.ZodObject) return `tuple(${this.#addReader(item)}(each) for each in fields.items(${key}))`;
    }
    throw new TypeError(`no reader for ${field}`);
  }

  #choices(schema: z.ZodEnum): string {
    const name = this.#name(schema);
    this.#enumsRead.add(name);
    return choicesName(name);
  }

  #name(schema: z.ZodType): string {
    const name = this.#names.get(schema);
    if (name === undefined) throw new TypeError(`export this ${schema.type}, so that it has a name`);
    return name;
  }

  #baseOf(schema: z.ZodObject): z.ZodObject | undefined {
    const { base } = this.#source;
    if (base === undefined || schema === base) return undefined;
    const begins = Object.entries(base.shape).every(([field, type]) => schema.shape[field] === type);
    return begins ? base : undefined;
  }
}

function numberRead(key: string, schema: z.ZodNumber): string {
  const { type, minimum, maximum, exclusiveMinimum } = z.toJSONSchema(schema);
  const high = maximum === undefined || maximum >= Number.MAX_SAFE_INTEGER ? "" : `, ${maximum}`;
  if (type === "integer") return `fields.integer(${key}, ${minimum ?? 0}${high})`;
  if (exclusiveMinimum !== undefined) return `fields.number(${key}, above=${exclusiveMinimum})`;
  return `fields.number(${key}, ${minimum ?? 0}${high})`;
}

function defaultOf(schema: z.ZodType): string {
  if (schema instanceof z.ZodLiteral) return ` = ${quoted(String(schema.value))}`;
  return schema instanceof z.ZodNullable ? " = None" : "";
}

function fieldsOf(schema: z.ZodObject): [string, z.ZodType][] {
  return Object.entries(schema.shape).map(([field, type]) => [field, asType(type)]);
}

function tagOf(schema: z.ZodObject): string | undefined {
  const tag: unknown = schema.shape["type"];
  return tag instanceof z.ZodLiteral ? String(tag.value) : undefined;
}

function inner(schema: z.ZodNullable): z.ZodType {
  return asType(schema.unwrap());
}

function element(schema: z.ZodArray): z.ZodType {
  return asType(schema.element);
}

function asType(schema: unknown): z.ZodType {
  if (!(schema instanceof z.ZodType)) throw new TypeError("not a schema");
  return schema;
}

function argument(name: string, value: number | null): string {
  return value === null ? "" : `, ${name}=${value}`;
}

function docstring(text: string): string[] {
  const line = `    """${text}"""`;
  if (line.length <= LINE) return [line];
  const lines: string[] = [];
  let current = '    """';
  for (const word of text.split(" ")) {
    if (`${current} ${word}`.length > LINE) {
      lines.push(current);
      current = `    ${word}`;
    } else {
      current += current.endsWith('"') || current.trim() === "" ? word : ` ${word}`;
    }
  }
  return [...lines, current, '    """'];
}

function literal(name: string, values: readonly string[]): string {
  const line = `${name} = Literal[${values.join(", ")}]`;
  return line.length <= LINE ? line : [`${name} = Literal[`, ...values.map((value) => `    ${value},`), "]"].join("\n");
}

function assignment(target: string, members: readonly string[]): string {
  const line = `${target} = ${members.join(" | ")}`;
  return line.length <= LINE ? line : [`${target} = (`, `    ${members.join(" | ")}`, ")"].join("\n");
}

function choicesName(name: string): string {
  return `${snake(name).toUpperCase()}${name.endsWith("x") ? "ES" : "S"}`;
}

function quoted(text: string): string {
  return JSON.stringify(text);
}

function snake(name: string): string {
  return name.replaceAll(/(?<=[a-z])[A-Z]/g, (letter) => `_${letter}`).toLowerCase();
}

function pascal(name: string): string {
  return `${name[0]?.toUpperCase()}${name.slice(1)}`.replace(/Message$/, "");
}
