import { stripVTControlCharacters } from "node:util";
import colors from "picocolors";

/** Rows under bold headings, in columns as wide as their widest cell, as `ls` and `docker ps` do it. */
export function formatTable(headings: readonly string[], rows: readonly (readonly string[])[]): string {
  const lines = [headings.map((heading) => colors.bold(heading)), ...rows];
  const widths = headings.map((_, column) =>
    lines.reduce((widest, line) => Math.max(widest, widthOf(line[column] ?? "")), 0),
  );
  const padded = (cell: string, column: number): string => cell + " ".repeat((widths[column] ?? 0) - widthOf(cell));
  return lines.map((line) => line.map(padded).join("  ").trimEnd()).join("\n");
}

/** Labels and values in two columns, indented. */
export function formatFields(fields: readonly (readonly [label: string, value: string])[]): string {
  const width = Math.max(...fields.map(([label]) => label.length));
  return fields.map(([label, value]) => `  ${colors.dim(label.padEnd(width))}  ${value}`).join("\n");
}

function widthOf(cell: string): number {
  return stripVTControlCharacters(cell).length;
}
