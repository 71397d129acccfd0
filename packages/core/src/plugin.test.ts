import { describe, expect, it } from "vitest";
import { z } from "zod";
import { isBackypError } from "./errors.ts";
import { parseWith, type WrongField } from "./plugin.ts";

const schema = z.strictObject({
  name: z.string(),
  count: z.int().min(1).optional(),
  mode: z.union([z.enum(["a", "b"]), z.strictObject({ level: z.int().max(9) })]).optional(),
  headers: z.record(z.string().regex(/^[a-z]+$/, "is no name"), z.string()).optional(),
  list: z.array(z.strictObject({ x: z.string() })).optional(),
});

function refusal(raw: unknown): { readonly message: string; readonly issues: string[]; readonly fields: WrongField[] } {
  try {
    parseWith(schema, raw, "the options");
  } catch (error) {
    if (!isBackypError(error, "ERR_CONFIG_INVALID")) throw error;
    const { issues, fields } = error.details as { issues: string[]; fields: WrongField[] };
    return { message: error.message, issues, fields };
  }
  throw new Error("it was taken");
}

describe("options that are checked with a schema", () => {
  it("are given back when they are good", () => {
    expect(parseWith(schema, { name: "x", mode: { level: 3 } }, "the options")).toEqual({
      name: "x",
      mode: { level: 3 },
    });
  });

  it("are refused with every wrong field, as a text and with its path", () => {
    const { message, issues, fields } = refusal({ count: 0, nmae: "x", list: [{ x: "" }, { x: 1, y: 2 }] });
    expect(fields).toEqual([
      { path: ["name"], message: expect.stringMatching(/expected string/), isUnknown: false },
      { path: ["count"], message: expect.stringMatching(/>=1/), isUnknown: false },
      { path: ["list", "1", "x"], message: expect.stringMatching(/expected string/), isUnknown: false },
      { path: ["list", "1", "y"], message: "is not known", isUnknown: true },
      { path: ["nmae"], message: "is not known", isUnknown: true },
    ]);
    expect(issues[4]).toBe("nmae: is not known");
    expect(message).toBe(`the options: ${issues.join("; ")}`);
  });

  it.each([
    [{ name: "x", mode: "c" }, ["mode"], /Invalid/],
    // What was meant is told from what it looks like.
    [{ name: "x", mode: { level: 10 } }, ["mode", "level"], /<=9/],
    [{ name: "x", mode: { lvl: 1, level: 1 } }, ["mode", "lvl"], /is not known/],
    [{ name: "x", headers: { "A B": "" } }, ["headers", "A B"], /is no name/],
    [null, [], /expected object/],
  ])("are refused at the place that is wrong: %j", (raw, path, message) => {
    expect(refusal(raw).fields).toEqual([expect.objectContaining({ path, message: expect.stringMatching(message) })]);
  });

  it("are never shown", () => {
    expect(JSON.stringify(refusal({ name: 4711, mode: "s3cret" }))).not.toMatch(/4711|s3cret/);
  });
});
