import { stripVTControlCharacters } from "node:util";
import colors from "picocolors";

/** Rows under bold headings, in columns as wide as their widest cell, as `ls` and `docker ps` do it. */
export function formatTable(headings: readonly string[], rows: readonly (readonly string[])[]): string {
  return growingTable(headings)(rows);
}

/**
 * A table that comes part by part. Columns are as wide as the widest cell so far.
 *
 * @returns what makes text of the next rows; the first one has the headings
 */
export function growingTable(headings: readonly string[]): (rows: readonly (readonly string[])[]) => string {
  const widths = headings.map(() => 0);
  let above = [headings.map((heading) => colors.bold(heading))];
  const padded = (cell: string, column: number): string => cell + " ".repeat((widths[column] ?? 0) - widthOf(cell));
  return (rows) => {
    const lines = [...above, ...rows];
    above = [];
    for (const [column, width] of widths.entries()) {
      widths[column] = lines.reduce((widest, line) => Math.max(widest, widthOf(line[column] ?? "")), width);
    }
    return lines.map((line) => line.slice(0, widths.length).map(padded).join("  ").trimEnd()).join("\n");
  };
}

/** Labels and values in two columns, indented. */
export function formatFields(fields: readonly (readonly [label: string, value: string])[]): string {
  const width = Math.max(...fields.map(([label]) => label.length));
  return fields.map(([label, value]) => `  ${colors.dim(label.padEnd(width))}  ${value}`).join("\n");
}

function widthOf(cell: string): number {
  return stripVTControlCharacters(cell).length;
}
