import type { Txn, TxnBody } from "../log/txn.ts";
import { acl, field, int, list, long } from "./jute.ts";

const ACL: Buffer = list(acl(31, "world", "anyone"), acl(1, "digest", "ada:é"));
const ACL_ENTRIES = [
  { permissions: 31, scheme: "world", id: "anyone" },
  { permissions: 1, scheme: "digest", id: "ada:é" },
];
const DATA: Buffer = Buffer.from([0, 1, 255]);
const part = (type: number, body: Uint8Array): Buffer => Buffer.concat([int(type), field(body)]);

export interface MadeBody {
  readonly name: string;
  readonly type: number;
  readonly bytes: Buffer;
  readonly body: TxnBody;
}

/** A body of every kind, and what it means. */
export const BODIES: readonly MadeBody[] = [
  { name: "createSession", type: -10, bytes: int(30_000), body: { type: "createSession", timeoutMs: 30_000 } },
  { name: "closeSession of 3.5", type: -11, bytes: Buffer.alloc(0), body: { type: "closeSession", paths: null } },
  {
    name: "closeSession with a list",
    type: -11,
    bytes: list(field("/a"), field("/b/ü")),
    body: { type: "closeSession", paths: ["/a", "/b/ü"] },
  },
  { name: "closeSession with an empty list", type: -11, bytes: list(), body: { type: "closeSession", paths: [] } },
  { name: "error", type: -1, bytes: int(-101), body: { type: "error", errorCode: -101 } },
  {
    name: "create",
    type: 1,
    bytes: Buffer.concat([field("/a"), field(DATA), ACL, Buffer.from([1]), int(7)]),
    body: { type: "create", path: "/a", data: DATA, acl: ACL_ENTRIES, ephemeral: true, parentCversion: 7 },
  },
  {
    name: "create without data and ACL",
    type: 1,
    bytes: Buffer.concat([field("/a"), field(null), int(-1), Buffer.from([0]), int(-1)]),
    body: { type: "create", path: "/a", data: null, acl: null, ephemeral: false, parentCversion: -1 },
  },
  {
    name: "create2 with empty data and ACL",
    type: 15,
    bytes: Buffer.concat([field("/日本"), field(""), list(), Buffer.from([0]), int(2)]),
    body: { type: "create2", path: "/日本", data: Buffer.alloc(0), acl: [], ephemeral: false, parentCversion: 2 },
  },
  {
    name: "createContainer",
    type: 19,
    bytes: Buffer.concat([field("/c"), field(DATA), ACL, int(3)]),
    body: { type: "createContainer", path: "/c", data: DATA, acl: ACL_ENTRIES, parentCversion: 3 },
  },
  {
    name: "createTtl",
    type: 21,
    bytes: Buffer.concat([field("/t"), field(DATA), ACL, int(3), long(0xff_ffff_ffffn)]),
    body: {
      type: "createTtl",
      path: "/t",
      data: DATA,
      acl: ACL_ENTRIES,
      parentCversion: 3,
      ttlMs: 0xff_ffff_ffffn,
    },
  },
  { name: "delete", type: 2, bytes: field("/a/b"), body: { type: "delete", path: "/a/b" } },
  { name: "deleteContainer", type: 20, bytes: field("/c"), body: { type: "deleteContainer", path: "/c" } },
  {
    name: "setData",
    type: 5,
    bytes: Buffer.concat([field("/"), field(DATA), int(4)]),
    body: { type: "setData", path: "/", data: DATA, version: 4 },
  },
  {
    name: "reconfig",
    type: 16,
    bytes: Buffer.concat([field("/zookeeper/config"), field(null), int(-1)]),
    body: { type: "reconfig", path: "/zookeeper/config", data: null, version: -1 },
  },
  {
    name: "setAcl",
    type: 7,
    bytes: Buffer.concat([field("/a"), ACL, int(9)]),
    body: { type: "setAcl", path: "/a", acl: ACL_ENTRIES, version: 9 },
  },
  {
    name: "check",
    type: 13,
    bytes: Buffer.concat([field("/a"), int(5)]),
    body: { type: "check", path: "/a", version: 5 },
  },
  {
    name: "multi",
    type: 14,
    bytes: list(
      part(13, Buffer.concat([field("/a"), int(5)])),
      part(1, Buffer.concat([field("/a"), field(""), ACL, Buffer.from([1]), int(7)])),
      part(21, Buffer.concat([field("/t"), field(null), int(-1), int(3), long(1n)])),
      part(19, Buffer.concat([field("/c"), field(DATA), list(), int(3)])),
      part(5, Buffer.concat([field("/a"), field(DATA), int(1)])),
      part(2, field("/a")),
      part(20, field("/c")),
      part(-1, int(-2)),
    ),
    body: {
      type: "multi",
      ops: [
        { type: "check", path: "/a", version: 5 },
        { type: "create", path: "/a", data: Buffer.alloc(0), acl: ACL_ENTRIES, ephemeral: true, parentCversion: 7 },
        { type: "createTtl", path: "/t", data: null, acl: null, parentCversion: 3, ttlMs: 1n },
        { type: "createContainer", path: "/c", data: DATA, acl: [], parentCversion: 3 },
        { type: "setData", path: "/a", data: DATA, version: 1 },
        { type: "delete", path: "/a" },
        { type: "deleteContainer", path: "/c" },
        { type: "error", errorCode: -2 },
      ],
    },
  },
  { name: "multi of nothing", type: 14, bytes: list(), body: { type: "multi", ops: [] } },
];

/** Those of {@link HEADER_BYTES} but for the type. */
export const HEADER: Omit<Txn, "type"> = {
  zxid: 0x7_0000_0022n,
  timeMs: 1_700_000_000_123,
  sessionId: -0x00ff_ffff_ffff_fffen,
  cxid: -9,
  digest: null,
};

/** A txn's header, a body, and what may follow it. */
export function entryOf(type: number, bytes: Uint8Array, ...tail: Uint8Array[]): Buffer {
  const { sessionId, cxid, zxid, timeMs } = HEADER;
  return Buffer.concat([long(sessionId), int(cxid), long(zxid), long(BigInt(timeMs)), int(type), bytes, ...tail]);
}
