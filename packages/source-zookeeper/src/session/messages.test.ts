import { OPEN_ACL } from "@zk-backyp/zookeeper-files";
import { describe, expect, it } from "vitest";
import {
  decodeConnect,
  decodeReply,
  decodeStat,
  encodeAuth,
  encodeConnect,
  encodeCreate,
  encodeDelete,
  encodeRead,
  encodeRequest,
  encodeSetData,
} from "./messages.ts";

const bytes = (hex: string): Buffer => Buffer.from(hex.replaceAll(" ", ""), "hex");

describe("what is sent", () => {
  it.each([
    [
      "the first packet",
      encodeConnect({ lastZxid: 0x100000002n, timeoutMs: 30_000, sessionId: 5n, password: Buffer.alloc(2, 7) }),
      "0000001f 00000000 0000000100000002 00007530 0000000000000005 00000002 0707 00",
    ],
    [
      "a create",
      encodeRequest(1, "create", (writer) => encodeCreate(writer, "/a", Buffer.from("d"), OPEN_ACL, "ephemeral")),
      `00000032 00000001 00000001 00000002 2f61 00000001 64 00000001 0000001f 00000005 ${Buffer.from("world").toString("hex")} 00000006 ${Buffer.from("anyone").toString("hex")} 00000001`,
    ],
    [
      "a sequential create",
      encodeRequest(1, "create", (writer) => encodeCreate(writer, "/a", Buffer.alloc(0), [], "ephemeral-sequential")),
      "0000001a 00000001 00000001 00000002 2f61 00000000 00000000 00000003",
    ],
    [
      "a create of what stays",
      encodeRequest(1, "create", (writer) => encodeCreate(writer, "/a", Buffer.alloc(0), [], "persistent")),
      "0000001a 00000001 00000001 00000002 2f61 00000000 00000000 00000000",
    ],
    [
      "a write",
      encodeRequest(2, "setData", (writer) => encodeSetData(writer, "/a", Buffer.from("d"), -1)),
      "00000017 00000002 00000005 00000002 2f61 00000001 64 ffffffff",
    ],
    [
      "a list",
      encodeRequest(2, "getChildren", (writer) => encodeRead(writer, "/a")),
      "0000000f 00000002 00000008 00000002 2f61 00",
    ],
    [
      "a read",
      encodeRequest(2, "getData", (writer) => encodeRead(writer, "/a")),
      "0000000f 00000002 00000004 00000002 2f61 00",
    ],
    [
      "a delete",
      encodeRequest(3, "delete", (writer) => encodeDelete(writer, "/a", -1)),
      "00000012 00000003 00000002 00000002 2f61 ffffffff",
    ],
    [
      "a credential",
      encodeRequest(-4, "auth", (writer) => encodeAuth(writer, "digest", "u:p")),
      `0000001d fffffffc 00000064 00000000 00000006 ${Buffer.from("digest").toString("hex")} 00000003 753a70`,
    ],
    ["the end", encodeRequest(9, "close", () => {}), "00000008 00000009 fffffff5"],
  ])("as %s is what servers read", (_, packet, hex) => {
    expect(packet.toString("hex")).toBe(bytes(hex).toString("hex"));
  });
});

describe("what is received", () => {
  it("as the answer to the first packet may or may not end with a flag", () => {
    const answer = "00000000 00004e20 0200000000000001 00000002 0a0b";
    const expected = { timeoutMs: 20_000, sessionId: 0x0200000000000001n, password: Buffer.from([10, 11]) };
    expect(decodeConnect(bytes(answer))).toEqual(expected);
    expect(decodeConnect(bytes(`${answer} 00`))).toEqual(expected);
  });

  it("as a reply is its number, its zxid, and its body or its error", () => {
    const stat = `${"0000000000000003".repeat(4)} 00000007 00000000 00000000 0000000000000009 00000001 00000000 0000000000000003`;
    expect(decodeReply(bytes(`00000002 0000000000000005 00000000 ${stat}`), decodeStat)).toEqual({
      xid: 2,
      zxid: 5n,
      result: { value: { czxid: 3n, version: 7, ephemeralOwner: 9n } },
    });
    expect(decodeReply(bytes("00000002 0000000000000005 ffffff9b"), decodeStat)).toMatchObject({
      result: { error: -101 },
    });
  });

  it.each(["", "00000002", "00000002 0000000000000005", "00000002 0000000000000005 00000000 00"])(
    "as a reply that is cut off is refused (%s)",
    (hex) => {
      expect(() => decodeReply(bytes(hex), decodeStat)).toThrow(/its answer is unreadable: \d+ bytes are needed/);
    },
  );
});
