import type { JsonObject } from "@zk-backyp/core";

/** No candidate writes more. */
const LABEL_BYTES = 4096;

// After 2^31 candidates ZooKeeper's number is negative.
const CANDIDATE = /^candidate-[\da-f]{8}(?:-[\da-f]{4}){3}-[\da-f]{12}-(-?\d{9,10})$/;

/** What the znode of the candidate with this uuid is called, less the number that ZooKeeper appends. */
export function candidatePrefix(uuid: string): string {
  return `candidate-${uuid}-`;
}

/** The candidates among the names in an election's folder, in the order in which they came. */
export function inOrder(names: readonly string[]): string[] {
  return names
    .flatMap((name) => {
      const number = CANDIDATE.exec(name)?.[1];
      return number === undefined ? [] : [{ name, number: Number(number) }];
    })
    .sort((a, b) => a.number - b.number)
    .map(({ name }) => name);
}

/** A znode's name for any text: what is no plain character is written as `%` and its UTF-8 bytes in hexadecimal. */
export function znodeName(text: string): string {
  // "." and ".." are no names of znodes, and neither is the empty one.
  if (/^\.*$/.test(text)) return `%${text.replaceAll(".", "2E")}`;
  return text.replaceAll(/[^\w.-]/gu, (character) =>
    [...Buffer.from(character)].map((byte) => `%${byte.toString(16).toUpperCase().padStart(2, "0")}`).join(""),
  );
}

/** What a candidate says of itself, or null where that is no JSON object. */
export function parseLabel(data: Buffer): JsonObject | null {
  if (data.byteLength > LABEL_BYTES) return null;
  try {
    const label: unknown = JSON.parse(data.toString("utf8"));
    return typeof label === "object" && label !== null && !Array.isArray(label) ? (label as JsonObject) : null;
  } catch {
    return null;
  }
}
