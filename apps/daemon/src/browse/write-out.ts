import type { CommandContext } from "../command-context.ts";

const CHUNK_CHARACTERS = 64 * 1024;

type Many<Item> = Iterable<Item> | AsyncIterable<Item>;

/** Writes lines to stdout as they come, no faster than they are read there. */
export async function writeLines(context: CommandContext, lines: Many<string>): Promise<void> {
  let pending = "";
  for await (const line of lines) {
    pending += `${line}\n`;
    if (pending.length < CHUNK_CHARACTERS) continue;
    await context.write(pending);
    pending = "";
  }
  await context.write(pending);
}

/** One JSON document that is not held in memory: fields, then an array under `name`, then the fields of `last`. */
export async function* jsonDocument(
  fields: object,
  name: string,
  items: Many<object>,
  last: () => object = () => ({}),
): AsyncGenerator<string, void, void> {
  yield "{";
  for (const [key, value] of Object.entries(fields)) yield `  ${JSON.stringify(key)}: ${JSON.stringify(value)},`;
  yield* arrayLines(items, `  ${JSON.stringify(name)}: [`, "    ");
  const rest = Object.entries(last());
  yield `  ]${rest.length === 0 ? "" : ","}`;
  for (const [index, [key, value]] of rest.entries()) {
    yield `  ${JSON.stringify(key)}: ${JSON.stringify(value)}${index < rest.length - 1 ? "," : ""}`;
  }
  yield "}";
}

/** An item on each line, so that line tools can do something with it too. */
async function* arrayLines(items: Many<object>, opening: string, indent: string): AsyncGenerator<string, void, void> {
  yield opening;
  let previous: string | undefined;
  for await (const item of items) {
    if (previous !== undefined) yield `${indent}${previous},`;
    previous = JSON.stringify(item);
  }
  if (previous !== undefined) yield `${indent}${previous}`;
}
