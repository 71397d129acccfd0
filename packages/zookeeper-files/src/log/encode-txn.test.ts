import { describe, expect, test } from "vitest";
import { HEADER } from "../testing/entries.ts";
import { encodeTxn } from "./encode-txn.ts";
import type { Txn } from "./txn.ts";

const SET: Txn = { ...HEADER, type: "setData", path: "/a", data: null, version: 1 };
const CREATE: Txn = {
  ...HEADER,
  type: "create",
  path: "/a",
  data: null,
  acl: null,
  ephemeral: false,
  parentCversion: 1,
};
const DIGEST = { version: 2, value: 1n };

describe("a txn that no server can apply is not encoded", () => {
  test.each<[string, object, string]>([
    ["a relative path", { ...SET, path: "a" }, 'the path "a" names no node'],
    ["an empty path", { ...SET, path: "" }, 'the path "" names no node'],
    ["an empty name", { ...SET, path: "/a//b" }, "names no node"],
    ["a slash at the end", { ...SET, path: "/a/" }, "names no node"],
    ["the root made", { ...CREATE, path: "/" }, 'the path "/" names no node'],
    ["the root deleted", { ...HEADER, type: "delete", path: "/" }, "names no node"],
    ["the root deleted with its session", { ...HEADER, type: "closeSession", paths: ["/a", "/"] }, "names no node"],
    ["an unknown type", { ...SET, type: "sync" }, 'the type "sync" is unknown'],
    ["a type by another name of objects", { ...SET, type: "constructor" }, 'the type "constructor" is unknown'],
    [
      "a setAcl in a multi",
      { ...HEADER, type: "multi", ops: [{ ...SET, type: "setAcl", acl: [] }] },
      '"setAcl" cannot',
    ],
    ["a multi in a multi", { ...HEADER, type: "multi", ops: [{ type: "multi", ops: [] }] }, '"multi" cannot'],
    ["a bad path in a multi", { ...HEADER, type: "multi", ops: [{ ...SET, path: "" }] }, "names no node"],
    ["a part of 3.3", { ...HEADER, type: "multi", ops: [{ ...CREATE, parentCversion: null }] }, "no parentCversion"],
    ["a create2 of 3.3", { ...CREATE, type: "create2", parentCversion: null }, "no parentCversion"],
    ["a create of 3.3 with a digest", { ...CREATE, parentCversion: null, digest: DIGEST }, "has a digest"],
    [
      "a closeSession without paths and with an odd digest",
      { ...HEADER, type: "closeSession", paths: null, digest: { version: 3, value: 1n } },
      "a digest of version 3",
    ],
    ["a version of 33 bits", { ...SET, version: 2 ** 31 }, "the version is 2147483648"],
    ["a version that is no whole number", { ...SET, version: 0.5 }, "the version is 0.5"],
    ["no version", { ...SET, version: undefined }, "the version is undefined"],
    ["a zxid of 65 bits", { ...SET, zxid: 2n ** 63n }, "the zxid is 9223372036854775808"],
    ["an unsigned session id", { ...SET, sessionId: 2n ** 64n - 1n }, "the session id is"],
    ["a time that is no number", { ...SET, timeMs: Number.NaN }, "the time is NaN"],
    ["a time past 2^53", { ...SET, timeMs: 2 ** 53 }, "the time is"],
    [
      "more data than readers take",
      { ...SET, data: Buffer.alloc(64 * 1024 * 1024 + 1) },
      "the data has 67108865 bytes",
    ],
  ])("%s", (_, txn, message) => {
    let error: unknown;
    try {
      encodeTxn(txn as Txn);
    } catch (thrown) {
      error = thrown;
    }
    expect(error).toMatchObject({ name: "ZooKeeperFileError", code: "NOT_WRITABLE", offset: null });
    expect((error as Error).message).toContain(message);
  });
});
