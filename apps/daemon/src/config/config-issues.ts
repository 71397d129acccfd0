import { BackypError, isBackypError, type WrongField } from "@zk-backyp/core";
import type { FoundConfig } from "./find-config.ts";
import { nearestName } from "./nearest-name.ts";
import { exampleAt, expectedAt, namesAt, type SchemaNode } from "./schema-node.ts";
import { yamlLine } from "./yaml-line.ts";

/** One thing that is wrong with a configuration: in `details.issues` of the error. */
export interface ConfigIssue {
  /** `series.zk-prod.schedule.interval`; empty for the whole. */
  readonly path: string;
  /** What is wrong with it. Holds no value of a field that may be a secret. */
  readonly message: string;
  /** What may stand there, or null where nothing more is known than the message. */
  readonly expected: string | null;
  /** What stands there, or null where that is not shown. */
  readonly found: string | null;
  /** What may be written there, in JSON, which is YAML too. Null if there is none. */
  readonly example: string | null;
  /** In the file, from 1 on; null if it is not known. */
  readonly line: number | null;
}

/** The error about all that is wrong with a configuration. Its message is a readable list. */
export function configInvalid(found: FoundConfig, fields: readonly WrongField[], schema: SchemaNode): BackypError {
  const issues = worthTelling(fields)
    .map((field) => issueOf(field, found, schema))
    .sort(inOrderOfFile);
  const count = issues.length === 1 ? "1 thing is" : `${issues.length} things are`;
  const message = [`${count} wrong in the configuration ${found.path}`, ...issues.map(describeIssue)].join("\n");
  return new BackypError("ERR_CONFIG_INVALID", message, { details: { path: found.path, issues } });
}

/** The wrong fields that an error of a schema or a plugin names, below `path`. */
export function fieldsOf(error: unknown, path: readonly string[]): WrongField[] {
  if (!isBackypError(error)) throw error;
  const { fields } = error.details as { readonly fields?: readonly WrongField[] };
  if (fields === undefined) return [{ path, message: error.message, isUnknown: false }];
  return fields.map((field) => ({ ...field, path: [...path, ...field.path] }));
}

/** What is wrong with the configuration, if that is what the error is about. */
export function configIssuesOf({ details }: BackypError): readonly ConfigIssue[] | undefined {
  const { issues = [] } = details as { readonly issues?: readonly (ConfigIssue | string)[] };
  // Of options that are no configuration they are texts.
  const structured = issues.filter((issue) => typeof issue === "object");
  return structured.length === 0 ? undefined : structured;
}

/** One for each field, and none for what is around a wrong field: that is mostly wrong because of it. */
function worthTelling(fields: readonly WrongField[]): WrongField[] {
  const isIn = (inner: readonly string[], outer: readonly string[]): boolean =>
    inner.length >= outer.length && outer.every((part, at) => inner[at] === part);
  return fields.filter(({ path }, index) =>
    fields.every(
      (other, at) => at === index || !isIn(other.path, path) || (other.path.length === path.length && at > index),
    ),
  );
}

function inOrderOfFile(a: ConfigIssue, b: ConfigIssue): number {
  return (a.line ?? Number.POSITIVE_INFINITY) - (b.line ?? Number.POSITIVE_INFINITY) || 0;
}

function issueOf({ path, message, isUnknown }: WrongField, found: FoundConfig, schema: SchemaNode): ConfigIssue {
  const line = found.yaml === null ? null : yamlLine(found.yaml, path);
  const common = { path: pathText(path), line };
  if (isUnknown) {
    const names = namesAt(schema, path.slice(0, -1));
    const nearest = nearestName(path.at(-1) ?? "", names);
    return {
      ...common,
      message: nearest === null ? message : `${message}: did you mean ${nearest}?`,
      expected: names.length === 0 ? null : `one of ${names.join(", ")}`,
      found: null,
      example: nearest === null ? null : asExample(nearest, exampleAt(schema, [...path.slice(0, -1), nearest])),
    };
  }
  const value = valueAt(found.content, path);
  return {
    ...common,
    message: plainWords(message, value === undefined),
    expected: expectedAt(schema, path),
    found: shown(value, path),
    example: asExample(path.at(-1), exampleAt(schema, path)),
  };
}

/** What schemas say in their own words, in ours. */
function plainWords(message: string, isMissing: boolean): string {
  if (!message.startsWith("Invalid input")) return message;
  if (isMissing) return "is missing";
  const [, expected, received] = /^Invalid input: expected (\w+), received (\w+)$/.exec(message) ?? [];
  return expected === undefined ? "cannot be this" : `has to be of type ${expected}, and is of type ${received}`;
}

function asExample(name: string | undefined, example: unknown): string | null {
  if (example === null || example === undefined) return null;
  const text = JSON.stringify(example);
  return name === undefined || /^\d+$/.test(name) ? text : `${name}: ${text}`;
}

function valueAt(content: unknown, path: readonly string[]): unknown {
  let value = content;
  for (const part of path) {
    if (typeof value !== "object" || value === null || !Object.hasOwn(value, part)) return undefined;
    value = (value as Record<string, unknown>)[part];
  }
  return value;
}

const MAX_SHOWN = 60;
/** Names of fields whose value may be a secret. */
const SECRET = /token|secret|password|passphrase|credential|auth|key|header|url|body/i;

/** A value as it may be shown: what may be a secret, or hold one, is not. */
function shown(value: unknown, path: readonly string[]): string | null {
  if (value === undefined) return null;
  if (value === null) return "nothing";
  if (Array.isArray(value)) return "a list";
  if (typeof value === "object") {
    const [place, ...more] = Object.entries(value);
    const isPlace = more.length === 0 && (place?.[0] === "env" || place?.[0] === "file");
    return isPlace ? `{ ${place[0]}: ${place[1]} }` : "an object";
  }
  if (path.some((part) => SECRET.test(part)) || /@/.test(String(value))) return null;
  const text = JSON.stringify(value) ?? String(value);
  return text.length <= MAX_SHOWN ? text : `${text.slice(0, MAX_SHOWN)}...`;
}

/** `series.a.command[0]` */
function pathText(path: readonly string[]): string {
  return path.reduce((text, part) => {
    if (/^\d+$/.test(part) && text !== "") return `${text}[${part}]`;
    const name = /^[A-Za-z0-9_-]+$/.test(part) ? part : JSON.stringify(part);
    return text === "" ? name : `${text}.${name}`;
  }, "");
}

/** An issue in some lines, for people. */
function describeIssue({ path, message, expected, found, example, line }: ConfigIssue): string {
  const where = `${path === "" ? "it" : path}${line === null ? "" : ` (line ${line})`}`;
  const rows = [
    ...(expected === null ? [] : [`      expected  ${expected}`]),
    ...(found === null ? [] : [`      found     ${found}`]),
    ...(example === null ? [] : [`      example   ${example}`]),
  ];
  return [`  ${where}: ${message}`, ...rows].join("\n");
}
