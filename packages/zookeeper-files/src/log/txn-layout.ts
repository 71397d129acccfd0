/** Session, cxid, zxid, time, type. */
export const TXN_HEADER_BYTES = 32;
/** Version and tree digest, behind the body; 3.6 and later. */
export const TXN_DIGEST_BYTES = 12;

/** The types of a txn as they stand in its header. */
export const TXN_TYPE = {
  closeSession: -11,
  createSession: -10,
  error: -1,
  create: 1,
  delete: 2,
  setData: 5,
  setAcl: 7,
  check: 13,
  multi: 14,
  create2: 15,
  reconfig: 16,
  createContainer: 19,
  deleteContainer: 20,
  createTtl: 21,
} as const;

/** Types from here on were added in 3.5. */
export const FIRST_TYPE_OF_35 = 15;

const SLASH = 0x2f;

const KNOWN_TYPES: ReadonlySet<number> = new Set(Object.values(TXN_TYPE));

/** Whether any release from 3.4 to 3.9 writes txns of this type. */
export function isTxnType(type: number): boolean {
  return KNOWN_TYPES.has(type);
}

/** Whether a multi may hold a part of this type. Servers apply no part behind one of another type. */
export function isPartType(type: number): boolean {
  return PART_TYPES.has(type);
}

const PART_TYPES: ReadonlySet<number> = new Set([
  TXN_TYPE.error,
  TXN_TYPE.create,
  TXN_TYPE.create2,
  TXN_TYPE.createContainer,
  TXN_TYPE.createTtl,
  TXN_TYPE.delete,
  TXN_TYPE.deleteContainer,
  TXN_TYPE.setData,
  TXN_TYPE.check,
]);

/** See {@link endOfBody}. */
export const SHORT = -1;
export const UNREADABLE = -2;

/**
 * Where the body of a txn ends that begins at `start` of an entry that ends at `end`. Behind it there is room for a
 * digest, or nothing. {@link SHORT} when the entry is too short for its type; {@link UNREADABLE} when servers fail on
 * what is in it: a length below -1; a path or a text of an ACL that is null; the path of a created or deleted node
 * without any slash; a multi that is null or has a bad part.
 * What is good here, `decodeTxn` decodes.
 */
export function endOfBody(bytes: Buffer, type: number, start: number, end: number): number {
  switch (type) {
    case TXN_TYPE.createSession:
      return skip(start, 4, end);
    case TXN_TYPE.closeSession:
      if (start === end || isBareDigest(bytes, start, end)) return start;
      return skipList(bytes, start, end, (at) => skipNodePath(bytes, at, end));
    case TXN_TYPE.multi:
      if (start + 4 <= end && bytes.readInt32BE(start) === -1) return UNREADABLE;
      return skipList(bytes, start, end, (at) => skipPart(bytes, at, end));
    case TXN_TYPE.create: {
      const ephemeral = skip(skipPathDataAcl(bytes, start, end), 1, end);
      const parentVersion = skip(ephemeral, 4, end);
      // Releases up to 3.3 did not write the parent's version.
      return parentVersion === SHORT ? ephemeral : parentVersion;
    }
    default:
      return endOfOp(bytes, type, start, end);
  }
}

/**
 * Whether a closeSession has no body, but a digest: 3.6 and later with `zookeeper.closeSessionTxn.enabled=false`. 3.4
 * and 3.5 write neither, others a list of paths. Twelve bytes are no list of two paths, as no path is empty.
 */
export function isBareDigest(bytes: Buffer, start: number, end: number): boolean {
  return end - start === TXN_DIGEST_BYTES && bytes.readInt32BE(start) === 2;
}

function endOfOp(bytes: Buffer, type: number, start: number, end: number): number {
  switch (type) {
    case TXN_TYPE.error:
      return skip(start, 4, end);
    case TXN_TYPE.delete:
    case TXN_TYPE.deleteContainer:
      return skipNodePath(bytes, start, end);
    case TXN_TYPE.check:
      return skip(skipText(bytes, start, end), 4, end);
    case TXN_TYPE.setData:
    case TXN_TYPE.reconfig:
      return skip(skipField(bytes, skipText(bytes, start, end), end), 4, end);
    case TXN_TYPE.setAcl:
      return skip(skipAcl(bytes, skipText(bytes, start, end), end), 4, end);
    case TXN_TYPE.create:
    case TXN_TYPE.create2:
      return skip(skipPathDataAcl(bytes, start, end), 5, end);
    case TXN_TYPE.createContainer:
      return skip(skipPathDataAcl(bytes, start, end), 4, end);
    case TXN_TYPE.createTtl:
      return skip(skipPathDataAcl(bytes, start, end), 12, end);
    default:
      return UNREADABLE;
  }
}

/** A part of a multi: its type, and its body as a buffer. */
function skipPart(bytes: Buffer, start: number, end: number): number {
  const body = skip(start, 8, end);
  const next = skipField(bytes, skip(start, 4, end), end);
  if (next < 0) return next;
  const type = bytes.readInt32BE(start);
  // A null body has no bytes, but is not one that is too short: servers fail on it.
  const isGood = bytes.readInt32BE(start + 4) !== -1 && isPartType(type) && endOfOp(bytes, type, body, next) >= 0;
  return isGood ? next : UNREADABLE;
}

function skipPathDataAcl(bytes: Buffer, start: number, end: number): number {
  return skipAcl(bytes, skipField(bytes, skipNodePath(bytes, start, end), end), end);
}

/** Behind the list of entries at `start`: permissions, scheme and id of each. -1 when there are too few bytes. */
export function skipAcl(bytes: Buffer, start: number, end: number): number {
  return skipList(bytes, start, end, (at) => skipText(bytes, skipText(bytes, skip(at, 4, end), end), end));
}

// All of these pass a negative start on, and return SHORT when there are too few bytes.

function skip(start: number, count: number, end: number): number {
  if (start < 0) return start;
  return start + count > end ? SHORT : start + count;
}

/** A buffer or a text: its length, -1 for null, and the bytes. */
function skipField(bytes: Buffer, start: number, end: number): number {
  const content = skip(start, 4, end);
  if (content < 0) return content;
  const length = bytes.readInt32BE(start);
  return length < -1 ? UNREADABLE : skip(content, Math.max(0, length), end);
}

/** A text that may not be null. */
function skipText(bytes: Buffer, start: number, end: number): number {
  const next = skipField(bytes, start, end);
  return next >= 0 && bytes.readInt32BE(start) === -1 ? UNREADABLE : next;
}

/** The path of a node that comes or goes: servers look for its parent. */
function skipNodePath(bytes: Buffer, start: number, end: number): number {
  const next = skipText(bytes, start, end);
  if (next < 0) return next;
  const slash = bytes.indexOf(SLASH, start + 4);
  return slash !== -1 && slash < next ? next : UNREADABLE;
}

function skipList(bytes: Buffer, start: number, end: number, skipElement: (at: number) => number): number {
  let at = skip(start, 4, end);
  if (at < 0) return at;
  for (let left = bytes.readInt32BE(start); left > 0 && at >= 0; left--) at = skipElement(at);
  return at;
}
