import { describe, expect, test } from "vitest";
import { decodeText, encodeText } from "./jute-text.ts";

const decode = (hex: string): string => {
  const bytes = Buffer.from(`ff${hex}ff`, "hex");
  return decodeText(bytes, 1, bytes.byteLength - 1);
};

describe("texts", () => {
  test.each([
    ["nothing", "", ""],
    ["ASCII", "/a", "2f61"],
    ["two and three bytes", "é€", "c3a9e282ac"],
    ["a replacement character", "\ufffd", "efbfbd"],
    ["the last characters before and the first behind the surrogates", "\ud7ff\ue000", "ed9fbfee8080"],
    ["a character above U+FFFF, in halves, as Java writes it", "😀", "eda0bdedb880"],
    ["such a one among others", "aé😀\ufffd€", "61c3a9eda0bdedb880efbfbde282ac"],
    ["half a character", "a\ud83d", "61eda0bd"],
    ["the other half", "\ude00b", "edb88062"],
    ["NUL, as itself", "\0", "00"],
  ])("of %s are read and written", (_, text, hex) => {
    expect(decode(hex)).toBe(text);
    expect(encodeText(text).toString("hex")).toBe(hex);
  });

  test("are read in plain UTF-8 too", () => {
    expect(decode("f09f9880")).toBe("😀");
    expect(decode("f09f9880edb880")).toBe("😀\ude00");
  });

  test("have replacement characters where there is no UTF-8", () => {
    expect(decode("61ff62")).toBe("a\ufffdb");
    expect(decode("ff eda0bd edb880 c3".replaceAll(" ", ""))).toBe("\ufffd😀\ufffd");
    // Bytes behind the end are not looked at.
    const bytes = Buffer.from("eda0bd", "hex");
    expect(decodeText(bytes, 0, 2)).toMatch(/^\ufffd+$/);
  });

  test("of many halves are read too", () => {
    const halves = "\ud800".repeat(100_000);
    expect(decodeText(encodeText(halves), 0, 300_000)).toBe(halves);
  });
});
