import type { AclEntry } from "../acl.ts";
import { ZooKeeperFileError } from "../file-error.ts";
import { JuteReader } from "../jute/jute-reader.ts";
import { asBuffer } from "../record-cutter.ts";
import type { CreateOp, MultiOp, SetDataOp, Txn, TxnBody } from "./txn.ts";
import { isBareDigest, isPartType, TXN_DIGEST_BYTES, TXN_TYPE } from "./txn-layout.ts";

/**
 * Decodes the entry of a log's record: header, body, and digest if there is one. Every entry that `createLogChecker`
 * counts as good can be decoded, and no other but a `check` outside of a multi.
 *
 * `data` in the result shares the memory of `entry`. Bytes behind the digest are ignored, as servers do.
 *
 * @throws ZooKeeperFileError `TXN_MALFORMED` for a type that no release writes; when a body is shorter than its type;
 *   and for what no server can apply: a path, or a scheme or id of an ACL, that is null; the path of a created or deleted
 *   node without any slash; a multi that is null, or a part of it whose type servers do not know in there or whose
 *   body is short
 */
export function decodeTxn(entry: Uint8Array): Txn {
  const bytes = asBuffer(entry);
  const reader = new JuteReader(bytes, 0, bytes.byteLength, malformed);
  const sessionId = reader.long();
  const cxid = reader.int();
  const zxid = reader.long();
  const timeMs = Number(reader.long());
  const typeAt = reader.at;
  const type = reader.int();
  const body = decodeBody(reader, bytes, type, typeAt);
  const digest = reader.left < TXN_DIGEST_BYTES ? null : { version: reader.int(), value: reader.long() };
  return { zxid, timeMs, sessionId, cxid, digest, ...body };
}

function decodeBody(reader: JuteReader, bytes: Buffer, type: number, typeAt: number): TxnBody {
  switch (type) {
    case TXN_TYPE.createSession:
      return { type: "createSession", timeoutMs: reader.int() };
    case TXN_TYPE.closeSession: {
      const isEmpty = reader.left === 0 || isBareDigest(bytes, reader.at, bytes.byteLength);
      return { type: "closeSession", paths: isEmpty ? null : (reader.list(() => decodeNodePath(reader)) ?? []) };
    }
    case TXN_TYPE.multi: {
      const at = reader.at;
      const ops = reader.list(() => decodePart(reader, bytes));
      if (ops === null) throw malformed("the list of the parts of a multi is null", at);
      return { type: "multi", ops };
    }
    case TXN_TYPE.create: {
      const start = { ...decodeCreate(reader), ephemeral: reader.boolean() };
      // Releases up to 3.3 did not write the parent's version.
      return { type: "create", ...start, parentCversion: reader.left < 4 ? null : reader.int() };
    }
    default:
      return decodeOp(reader, type, typeAt);
  }
}

function decodePart(reader: JuteReader, bytes: Buffer): MultiOp {
  const typeAt = reader.at;
  const type = reader.int();
  const at = reader.at;
  const body = reader.buffer();
  if (body === null) throw malformed("a part of a multi is null", at);
  if (!isPartType(type)) throw malformed(`a part of a multi is of the type ${type}`, typeAt);
  const part = new JuteReader(bytes, reader.at - body.byteLength, reader.at, malformed);
  return decodeOp(part, type, typeAt);
}

function decodeOp(reader: JuteReader, type: number, typeAt: number): MultiOp {
  switch (type) {
    case TXN_TYPE.error:
      return { type: "error", errorCode: reader.int() };
    case TXN_TYPE.create:
    case TXN_TYPE.create2:
      return {
        type: type === TXN_TYPE.create ? "create" : "create2",
        ...decodeCreate(reader),
        ephemeral: reader.boolean(),
        parentCversion: reader.int(),
      };
    case TXN_TYPE.createContainer:
      return { type: "createContainer", ...decodeCreate(reader), parentCversion: reader.int() };
    case TXN_TYPE.createTtl:
      return { type: "createTtl", ...decodeCreate(reader), parentCversion: reader.int(), ttlMs: reader.long() };
    case TXN_TYPE.delete:
      return { type: "delete", path: decodeNodePath(reader) };
    case TXN_TYPE.deleteContainer:
      return { type: "deleteContainer", path: decodeNodePath(reader) };
    case TXN_TYPE.setData:
      return decodeSetData(reader, "setData");
    case TXN_TYPE.reconfig:
      return decodeSetData(reader, "reconfig");
    case TXN_TYPE.setAcl:
      return { type: "setAcl", path: reader.text(), acl: decodeAcl(reader), version: reader.int() };
    case TXN_TYPE.check:
      return { type: "check", path: reader.text(), version: reader.int() };
    default:
      throw malformed(`the type ${type} is unknown`, typeAt);
  }
}

function decodeSetData(reader: JuteReader, type: SetDataOp["type"]): SetDataOp {
  return { type, path: reader.text(), data: reader.buffer(), version: reader.int() };
}

function decodeCreate(reader: JuteReader): Pick<CreateOp, "path" | "data" | "acl"> {
  return { path: decodeNodePath(reader), data: reader.buffer(), acl: decodeAcl(reader) };
}

/** The path of a node that comes or goes: servers look for its parent. */
function decodeNodePath(reader: JuteReader): string {
  const { at } = reader;
  const path = reader.text();
  if (!path.includes("/")) throw malformed(`the path ${JSON.stringify(path.slice(0, 200))} has no slash`, at);
  return path;
}

function decodeAcl(reader: JuteReader): AclEntry[] | null {
  return reader.list(() => ({ permissions: reader.int(), scheme: reader.text(), id: reader.text() }));
}

function malformed(what: string, at: number): ZooKeeperFileError {
  const message = `the txn cannot be decoded: ${what}, at byte ${at} of its entry`;
  return new ZooKeeperFileError("TXN_MALFORMED", null, message);
}
