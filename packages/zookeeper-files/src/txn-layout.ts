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

const KNOWN_TYPES: ReadonlySet<number> = new Set(Object.values(TXN_TYPE));

/** Whether any release from 3.4 to 3.9 writes txns of this type. */
export function isTxnType(type: number): boolean {
  return KNOWN_TYPES.has(type);
}

/**
 * Where the body of a txn ends that begins at `start` of an entry that ends at `end`. Behind it there is room for a
 * digest, or nothing. -1 when the entry is too short for its type.
 */
export function endOfBody(bytes: Buffer, type: number, start: number, end: number): number {
  switch (type) {
    case TXN_TYPE.createSession:
    case TXN_TYPE.error:
      return skip(start, 4, end);
    case TXN_TYPE.closeSession:
      return endOfCloseSession(bytes, start, end);
    case TXN_TYPE.delete:
    case TXN_TYPE.deleteContainer:
      return skipField(bytes, start, end);
    case TXN_TYPE.check:
      return skip(skipField(bytes, start, end), 4, end);
    case TXN_TYPE.setData:
    case TXN_TYPE.reconfig:
      return skip(skipField(bytes, skipField(bytes, start, end), end), 4, end);
    case TXN_TYPE.setAcl:
      return skip(skipAcl(bytes, skipField(bytes, start, end), end), 4, end);
    case TXN_TYPE.create:
    case TXN_TYPE.create2: {
      const ephemeral = skip(skipPathDataAcl(bytes, start, end), 1, end);
      const parentVersion = skip(ephemeral, 4, end);
      // Releases up to 3.3 did not write the parent's version.
      return parentVersion === -1 ? ephemeral : parentVersion;
    }
    case TXN_TYPE.createContainer:
      return skip(skipPathDataAcl(bytes, start, end), 4, end);
    case TXN_TYPE.createTtl:
      return skip(skipPathDataAcl(bytes, start, end), 12, end);
    case TXN_TYPE.multi:
      return skipList(bytes, start, end, (at) => skipField(bytes, skip(at, 4, end), end));
    default:
      return -1;
  }
}

/**
 * 3.4 and 3.5 write no body, 3.6 and later a list of paths; but with `zookeeper.closeSessionTxn.enabled=false` only
 * the digest. The twelve bytes of a digest are no list of two paths, as no path is empty.
 */
function endOfCloseSession(bytes: Buffer, start: number, end: number): number {
  const length = end - start;
  if (length === 0) return start;
  if (length === TXN_DIGEST_BYTES && bytes.readInt32BE(start) === 2) return start;
  return skipList(bytes, start, end, (at) => skipField(bytes, at, end));
}

function skipPathDataAcl(bytes: Buffer, start: number, end: number): number {
  return skipAcl(bytes, skipField(bytes, skipField(bytes, start, end), end), end);
}

/** Permissions, scheme and id of each entry. */
function skipAcl(bytes: Buffer, start: number, end: number): number {
  return skipList(bytes, start, end, (at) => skipField(bytes, skipField(bytes, skip(at, 4, end), end), end));
}

// All of these take -1 for a start that was not there, and return -1 when there are too few bytes.

function skip(start: number, count: number, end: number): number {
  return start === -1 || start + count > end ? -1 : start + count;
}

/** A buffer or a text: its length, -1 for null, and the bytes. */
function skipField(bytes: Buffer, start: number, end: number): number {
  if (skip(start, 4, end) === -1) return -1;
  const length = bytes.readInt32BE(start);
  return length < -1 ? -1 : skip(start + 4, Math.max(0, length), end);
}

function skipList(bytes: Buffer, start: number, end: number, skipElement: (at: number) => number): number {
  if (skip(start, 4, end) === -1) return -1;
  let at = start + 4;
  for (let left = bytes.readInt32BE(start); left > 0 && at !== -1; left--) at = skipElement(at);
  return at;
}
