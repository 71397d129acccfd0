import { JuteWriter, notWritable } from "../jute/jute-writer.ts";
import { encodeAcl } from "./encode-acl.ts";
import type { MultiOp, Txn, TxnBody } from "./txn.ts";
import { isPartType, TXN_TYPE } from "./txn-layout.ts";

/**
 * Encodes a txn as the entry of a log's record, from header to digest. `decodeTxn` makes the same txn of it; and what
 * a server wrote and `decodeTxn` decoded becomes the same bytes again.
 *
 * @throws ZooKeeperFileError `NOT_WRITABLE` for what servers fail on: a path that is not absolute, a created or deleted
 *   node without a name, a part of a multi of a type that cannot be one; and for numbers that do not fit their fields
 */
export function encodeTxn(txn: Txn): Buffer {
  const writer = new JuteWriter();
  writer.long(txn.sessionId, "the session id");
  writer.int(txn.cxid, "the cxid");
  writer.long(txn.zxid, "the zxid");
  writer.time(txn.timeMs, "the time");
  writer.int(typeNumber(txn.type), "the type");
  encodeBody(writer, txn);
  if (txn.digest !== null) {
    // Without them, the digest would be taken for them.
    if (txn.type === "create" && txn.parentCversion === null) {
      throw notWritable(`the create of ${txn.path} has a digest but no parentCversion`);
    }
    if (txn.type === "closeSession" && txn.paths === null && txn.digest.version !== 2) {
      throw notWritable(`a closeSession without paths has a digest of version ${txn.digest.version}`);
    }
    writer.int(txn.digest.version, "the version of the digest");
    writer.long(txn.digest.value, "the digest");
  }
  return writer.take();
}

function typeNumber(type: TxnBody["type"]): number {
  const number: number | undefined = Object.hasOwn(TXN_TYPE, type) ? TXN_TYPE[type] : undefined;
  if (number === undefined) throw notWritable(`the type "${type}" is unknown`);
  return number;
}

function encodeBody(writer: JuteWriter, body: TxnBody): void {
  switch (body.type) {
    case "createSession":
      writer.int(body.timeoutMs, "the session's timeout");
      return;
    case "closeSession":
      if (body.paths === null) return;
      writer.list(body.paths, (path) => encodePath(writer, path, true));
      return;
    case "multi":
      writer.list(body.ops, (op) => {
        const type = typeNumber(op.type);
        if (!isPartType(type)) throw notWritable(`"${op.type}" cannot be a part of a multi`);
        if ("parentCversion" in op && op.parentCversion === null) {
          throw notWritable(`the create of ${op.path} in a multi has no parentCversion`);
        }
        const part = new JuteWriter();
        encodeOp(part, op);
        writer.int(type, "the type");
        writer.buffer(part.take(), "a part of a multi");
      });
      return;
    default:
      encodeOp(writer, body);
  }
}

function encodeOp(writer: JuteWriter, op: MultiOp): void {
  switch (op.type) {
    case "create":
    case "create2":
      encodeCreate(writer, op);
      writer.boolean(op.ephemeral);
      if (op.parentCversion !== null) writer.int(op.parentCversion, "the parent's cversion");
      else if (op.type === "create2") throw notWritable(`the create2 of ${op.path} has no parentCversion`);
      return;
    case "createContainer":
      encodeCreate(writer, op);
      writer.int(op.parentCversion, "the parent's cversion");
      return;
    case "createTtl":
      encodeCreate(writer, op);
      writer.int(op.parentCversion, "the parent's cversion");
      writer.long(op.ttlMs, "the time to live");
      return;
    case "delete":
    case "deleteContainer":
      encodePath(writer, op.path, true);
      return;
    case "setData":
    case "reconfig":
      encodePath(writer, op.path, false);
      writer.buffer(op.data, "the data");
      writer.int(op.version, "the version");
      return;
    case "setAcl":
      encodePath(writer, op.path, false);
      encodeAcl(writer, op.acl);
      writer.int(op.version, "the version");
      return;
    case "check":
      encodePath(writer, op.path, false);
      writer.int(op.version, "the version");
      return;
    case "error":
      writer.int(op.errorCode, "the error code");
  }
}

function encodeCreate(writer: JuteWriter, op: Extract<MultiOp, { acl: unknown; data: unknown }>): void {
  encodePath(writer, op.path, true);
  writer.buffer(op.data, "the data");
  encodeAcl(writer, op.acl);
}

/** The root is `/` in txns. It can be changed, but not created or deleted. */
function encodePath(writer: JuteWriter, path: string, hasName: boolean): void {
  const isGood = path.startsWith("/") && !path.includes("//") && (path.length > 1 ? !path.endsWith("/") : !hasName);
  if (!isGood) throw notWritable(`the path ${JSON.stringify(path)} names no node that a txn can be about`);
  writer.text(path, "a path");
}
