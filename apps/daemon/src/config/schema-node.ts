/** A part of a JSON Schema, as far as it is looked at here. */
export interface SchemaNode {
  readonly type?: string;
  readonly const?: unknown;
  readonly enum?: readonly unknown[];
  readonly minimum?: number;
  readonly maximum?: number;
  readonly minLength?: number;
  readonly properties?: Readonly<Record<string, SchemaNode>>;
  readonly additionalProperties?: SchemaNode | boolean;
  readonly required?: readonly string[];
  readonly items?: SchemaNode | boolean;
  readonly prefixItems?: readonly SchemaNode[];
  readonly anyOf?: readonly SchemaNode[];
  readonly oneOf?: readonly SchemaNode[];
  readonly allOf?: readonly SchemaNode[];
  readonly examples?: readonly unknown[];
  readonly description?: string;
}

/** A node with its alternatives, of which one is meant. */
function alternatives(node: SchemaNode): SchemaNode[] {
  const inner = [...(node.anyOf ?? []), ...(node.oneOf ?? [])].filter(
    (each) => Object.keys(each).join() !== "required",
  );
  return inner.length === 0 ? [node] : [node, ...inner.flatMap(alternatives)];
}

/** What may stand at a path below `node`: none if the schema does not tell. */
function nodesAt(node: SchemaNode, path: readonly string[]): SchemaNode[] {
  let nodes = [node];
  for (const part of path) {
    nodes = nodes.flatMap(alternatives).flatMap((each) => childOf(each, part));
  }
  return nodes;
}

function childOf({ properties, additionalProperties, items, prefixItems }: SchemaNode, part: string): SchemaNode[] {
  if (properties !== undefined && Object.hasOwn(properties, part)) return [properties[part] ?? {}];
  const child = /^\d+$/.test(part) ? (prefixItems?.[Number(part)] ?? items) : undefined;
  return [child ?? additionalProperties].filter((each) => typeof each === "object");
}

/** Names that what stands at a path may have in it. */
export function namesAt(node: SchemaNode, path: readonly string[]): string[] {
  const nodes = nodesAt(node, path).flatMap(alternatives);
  return [...new Set(nodes.flatMap(({ properties = {} }) => Object.keys(properties)))];
}

/** What may stand there, for people: `a whole number from 1 to 9, or null`. Null if the schema does not tell. */
export function expectedAt(node: SchemaNode, path: readonly string[]): string | null {
  const kinds = nodesAt(node, path)
    .flatMap(alternatives)
    .map(kindOf)
    .filter((kind) => kind !== null);
  return kinds.length === 0 ? null : [...new Set(kinds)].join(", or ");
}

function kindOf(node: SchemaNode): string | null {
  const { type, enum: values, minimum, maximum } = node;
  if (Object.hasOwn(node, "const")) return JSON.stringify(node.const);
  if (values !== undefined) return values.map(String).join(", or ");
  switch (type) {
    case "string":
      return "a text";
    case "boolean":
      return "true or false";
    case "integer":
    case "number":
      return `a ${type === "integer" ? "whole " : ""}number${boundsOf(minimum, maximum)}`;
    case "array":
      return "a list";
    case "object": {
      const names = Object.keys(node.properties ?? {});
      if (names.join() === "env") return "{ env: NAME }";
      if (names.join() === "file") return "{ file: PATH }";
      return names.length === 0 ? "an object" : `an object with ${names.join(", ")}`;
    }
    default:
      return null;
  }
}

function boundsOf(minimum = Number.MIN_SAFE_INTEGER, maximum = Number.MAX_SAFE_INTEGER): string {
  const from = minimum === Number.MIN_SAFE_INTEGER ? "" : ` from ${minimum} on`;
  if (maximum === Number.MAX_SAFE_INTEGER) return from;
  return from === "" ? ` up to ${maximum}` : ` from ${minimum} to ${maximum}`;
}

/** An example of what stands at a path, or null. */
export function exampleAt(node: SchemaNode, path: readonly string[]): unknown {
  for (const each of nodesAt(node, path).flatMap(alternatives)) {
    if (each.examples !== undefined && each.examples.length > 0) return each.examples[0];
    if (each.enum !== undefined) return each.enum[0];
  }
  return null;
}
