import { describe, expect, it } from "vitest";
import { candidatePrefix, inOrder, parseLabel, znodeName } from "./candidate-znodes.ts";

const UUIDS = ["ffffffff-0000-4000-8000-000000000000", "00000000-0000-4000-8000-000000000000"] as const;
const name = (uuid: string, number: string): string => `${candidatePrefix(uuid)}${number}`;

describe("the order of candidates", () => {
  it("is that of the numbers, whatever the uuids are", () => {
    const names = ["0000000010", "0000000002", "2147483647", "0000000001"].map((number, at) =>
      name(UUIDS[at % 2] as string, number),
    );
    expect(inOrder(names).map((each) => each.slice(-10))).toEqual([
      "0000000001",
      "0000000002",
      "0000000010",
      "2147483647",
    ]);
  });

  it.each([
    ["a name without a number", candidatePrefix(UUIDS[0])],
    ["a name without a uuid", "candidate-0000000001"],
    ["another's name", `lock-${UUIDS[0]}-0000000001`],
    ["more behind the number", `${name(UUIDS[0], "0000000001")}x`],
  ])("does not have %s", (_, other) => {
    expect(inOrder([other])).toEqual([]);
  });

  it("has the numbers that ZooKeeper gives after two thousand million", () => {
    const negative = name(UUIDS[0], "-2147483648");
    expect(inOrder([negative, name(UUIDS[0], "-000000001")])).toEqual([negative, name(UUIDS[0], "-000000001")]);
  });
});

describe("a znode's name", () => {
  it.each([
    ["zk-prod_1.a", "zk-prod_1.a"],
    ["prod/zk", "prod%2Fzk"],
    ["a b", "a%20b"],
    ["100%", "100%25"],
    ["é", "%C3%A9"],
    ["💾", "%F0%9F%92%BE"],
    ["a\0\n", "a%00%0A"],
    [".", "%2E"],
    ["..", "%2E2E"],
    ["", "%"],
    ["\ud800", "%EF%BF%BD"],
  ])("for %j is %s", (text, znode) => {
    expect(znodeName(text)).toBe(znode);
  });
});

describe("what a candidate says of itself", () => {
  it("is its JSON object", () => {
    expect(parseLabel(Buffer.from('{"host":"a"}'))).toEqual({ host: "a" });
  });

  it.each(["", "host", '"host"', "[]", "null", "{", `{"host":"${"x".repeat(5_000)}"}`])(
    "is nothing where it is %s",
    (text) => {
      expect(parseLabel(Buffer.from(text))).toBeNull();
    },
  );
});
