import { describe, expect, test } from "vitest";
import { BODIES, entryOf, HEADER } from "../testing/entries.ts";
import { acl, field, int, list, long } from "../testing/jute.ts";
import { frame, LOG_HEADER } from "../testing/made-log.ts";
import { realFiles } from "../testing/real-files.ts";
import { decodeTxn } from "./decode-txn.ts";
import { encodeTxn } from "./encode-txn.ts";
import { createLogChecker } from "./log-checker.ts";

const files = realFiles();
const DIGEST = Buffer.concat([int(2), long(-5n)]);
const OPEN = list(acl(31, "world", "anyone"));

/** Whether the log checker takes it for a good record. */
function isGoodRecord(entry: Uint8Array): boolean {
  const checker = createLogChecker();
  checker.push(Buffer.concat([LOG_HEADER, frame(entry)]));
  return checker.end().records === 1;
}

function refusal(entry: Uint8Array): unknown {
  try {
    return decodeTxn(entry);
  } catch (error) {
    return error;
  }
}

describe("a txn", () => {
  test.each(BODIES)("$name is decoded and encoded", ({ type, bytes, body }) => {
    for (const digest of [null, { version: 2, value: -5n }]) {
      const entry = entryOf(type, bytes, ...(digest === null ? [] : [DIGEST]));
      const txn = decodeTxn(entry);
      expect(txn).toEqual({ ...HEADER, digest, ...body });
      expect(encodeTxn(txn)).toEqual(entry);
    }
  });

  test.each(BODIES)("$name is decoded exactly where the log checker takes it, however it is cut", (made) => {
    const whole = entryOf(made.type, made.bytes, DIGEST);
    for (let size = 0; size <= whole.byteLength; size++) {
      const entry = whole.subarray(0, size);
      const txn = refusal(entry);
      // The checker stops at a check outside of a multi, which servers cannot read.
      if (made.type === 13 && size >= whole.byteLength - DIGEST.byteLength) expect(txn).not.toBeInstanceOf(Error);
      else if (isGoodRecord(entry)) expect(txn).not.toBeInstanceOf(Error);
      else expect(txn).toMatchObject({ name: "ZooKeeperFileError", code: "TXN_MALFORMED" });
    }
  });

  test("ignores what is behind its digest, and what is too short for one", () => {
    const body = field("/a");
    expect(decodeTxn(entryOf(2, body, Buffer.alloc(11)))).toEqual({ ...HEADER, type: "delete", path: "/a" });
    const digest = { version: 2, value: -5n };
    expect(decodeTxn(entryOf(2, body, DIGEST, Buffer.alloc(50, 1)))).toMatchObject({ path: "/a", digest });
  });

  test("that closes a session may have a digest and no list", () => {
    const entry = entryOf(-11, DIGEST);
    const txn = decodeTxn(entry);
    expect(txn).toMatchObject({ type: "closeSession", paths: null, digest: { version: 2, value: -5n } });
    expect(encodeTxn(txn)).toEqual(entry);
  });

  test("of 3.3 has no parentCversion", () => {
    const entry = entryOf(1, Buffer.concat([field("/a"), field("x"), OPEN, Buffer.from([0])]));
    const txn = decodeTxn(entry);
    expect(txn).toMatchObject({ type: "create", path: "/a", parentCversion: null, digest: null });
    expect(encodeTxn(txn)).toEqual(entry);
  });

  test("has lists of no elements where a count is negative, as for servers", () => {
    const create = (count: number): Buffer => Buffer.concat([field("/a"), field("x"), int(count), Buffer.alloc(5)]);
    expect(decodeTxn(entryOf(1, create(-1)))).toMatchObject({ acl: null });
    expect(decodeTxn(entryOf(1, create(-2)))).toMatchObject({ acl: [] });
    expect(decodeTxn(entryOf(-11, int(-1)))).toMatchObject({ paths: [] });
    expect(decodeTxn(entryOf(14, int(-2)))).toMatchObject({ ops: [] });
  });

  test("shares its data with the entry", () => {
    const entry = entryOf(5, Buffer.concat([field("/a"), field("hello"), int(1)]));
    const txn = decodeTxn(new Uint8Array(entry.buffer, entry.byteOffset, entry.byteLength));
    entry.write("J", entry.indexOf("hello"));
    expect(txn).toMatchObject({ data: Buffer.from("Jello") });
  });

  test("has texts above U+FFFF as Java writes them", () => {
    const id = Buffer.from("eda0bdedb880", "hex");
    const entry = entryOf(
      7,
      Buffer.concat([field("/a"), list(Buffer.concat([int(1), field("x509"), field(id)])), int(1)]),
    );
    const txn = decodeTxn(entry);
    expect(txn).toMatchObject({ acl: [{ permissions: 1, scheme: "x509", id: "😀" }] });
    expect(encodeTxn(txn)).toEqual(entry);
  });
});

describe("what is no txn", () => {
  test.each([0, 3, 17, 22, 102, -12, 2 ** 31 - 1])("of the type %i is refused", (type) => {
    expect(refusal(entryOf(type, Buffer.alloc(100)))).toMatchObject({
      code: "TXN_MALFORMED",
      offset: null,
      message: `the txn cannot be decoded: the type ${type} is unknown, at byte 28 of its entry`,
    });
  });

  const part = (type: number, body: Uint8Array | null): Buffer => list(Buffer.concat([int(type), field(body)]));
  test.each<[string, number, Buffer, string]>([
    ["a null path", 2, field(null), "a text is null, at byte 32"],
    ["a path without a slash", 2, field("a"), 'the path "a" has no slash, at byte 32'],
    [
      "an empty path before a slash",
      -11,
      Buffer.concat([int(1), int(0), Buffer.from("/eph")]),
      'the path "" has no slash',
    ],
    ["a length below -1", 5, Buffer.concat([field("/a"), int(-2)]), "a length is -2, at byte 38"],
    ["a length of 2 GB", 2, int(2 ** 31 - 1), "2147483647 bytes are needed and 0 are left, at byte 36"],
    ["a count of 2 billion", -11, int(2 ** 31 - 1), "4 bytes are needed and 0 are left, at byte 36"],
    ["2 billion parts", 14, int(2 ** 31 - 1), "4 bytes are needed and 0 are left, at byte 36"],
    ["an ACL of 2 billion entries", 7, Buffer.concat([field("/a"), int(2 ** 31 - 1)]), "at byte 42"],
    ["a null scheme", 7, Buffer.concat([field("/a"), list(Buffer.concat([int(1), field(null)]))]), "a text is null"],
    ["a null multi", 14, int(-1), "the list of the parts of a multi is null, at byte 32"],
    ["a null part", 14, part(2, null), "a part of a multi is null, at byte 40"],
    [
      "a part of a type for parts that is none",
      14,
      part(7, field("/a")),
      "a part of a multi is of the type 7, at byte 36",
    ],
    ["a short part", 14, part(5, field("/a")), "4 bytes are needed and 0 are left, at byte 50"],
    [
      "a part of 3.3",
      14,
      part(1, Buffer.concat([field("/a"), field(""), OPEN, Buffer.from([0])])),
      "4 bytes are needed",
    ],
    ["a create2 of 3.3", 15, Buffer.concat([field("/a"), field(""), OPEN, Buffer.from([0])]), "4 bytes are needed"],
  ])("such as %s is refused", (_, type, body, message) => {
    const error = refusal(entryOf(type, body));
    expect(error).toMatchObject({ name: "ZooKeeperFileError", code: "TXN_MALFORMED" });
    expect((error as Error).message).toContain(message);
    expect(isGoodRecord(entryOf(type, body))).toBe(false);
  });
});

describe("real logs", () => {
  test.each([
    ["zookeeper-3.4.14", ["log", "version-2", "log.1"]],
    ["zookeeper-3.5.10", ["log", "version-2", "log.1"]],
    ["zookeeper-3.6.4", ["log", "version-2", "log.1"]],
    ["zookeeper-3.7.2", ["log", "version-2", "log.1"]],
    ["zookeeper-3.8.0", ["log", "version-2", "log.1"]],
    ["zookeeper-3.8.0-rich", ["version-2", "log.227"]],
    ["zookeeper-3.8.0-rich", ["version-2", "log.3a8"]],
  ])("of %s become the same bytes again", (archive, path) => {
    const types = new Set<string>();
    const checker = createLogChecker({
      onRecord: ({ entry, zxid, timeMs, sessionId, cxid }) => {
        const txn = decodeTxn(entry);
        types.add(txn.type);
        expect(txn).toMatchObject({ zxid, timeMs, sessionId, cxid });
        expect(encodeTxn(txn).equals(entry)).toBe(true);
      },
    });
    checker.push(files.read(archive, ...path));
    expect(checker.end().records).toBeGreaterThan(20);
    expect(types).toContain("create");
  });
});
