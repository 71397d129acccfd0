import Table from "cli-table3";
import colors from "picocolors";

/** Rows under bold headings, without lines, as `ls` and `docker ps` do it. */
export function formatTable(headings: readonly string[], rows: readonly (readonly string[])[]): string {
  const table = new Table({
    head: headings.map((heading) => colors.bold(heading)),
    chars: Object.fromEntries(
      [
        ...["top", "top-mid", "top-left", "top-right", "bottom", "bottom-mid", "bottom-left", "bottom-right"],
        ...["left", "left-mid", "mid", "mid-mid", "right", "right-mid", "middle"],
      ].map((name) => [name, ""]),
    ),
    style: { head: [], border: [], "padding-left": 0, "padding-right": 2 },
  });
  for (const row of rows) table.push([...row]);
  return trimLines(table.toString());
}

/** Labels and values in two columns, indented. */
export function formatFields(fields: readonly (readonly [label: string, value: string])[]): string {
  const width = Math.max(...fields.map(([label]) => label.length));
  return fields.map(([label, value]) => `  ${colors.dim(label.padEnd(width))}  ${value}`).join("\n");
}

function trimLines(text: string): string {
  return text
    .split("\n")
    .map((line) => line.trimEnd())
    .join("\n");
}
