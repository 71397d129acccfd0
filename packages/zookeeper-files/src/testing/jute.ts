/** ZooKeeper's serialization, written from its description and not from the code under test. */
export function int(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeInt32BE(value);
  return bytes;
}

export function long(value: bigint): Buffer {
  const bytes = Buffer.alloc(8);
  bytes.writeBigInt64BE(BigInt.asIntN(64, value));
  return bytes;
}

export function field(value: string | Uint8Array | null): Buffer {
  if (value === null) return int(-1);
  const bytes = Buffer.from(value);
  return Buffer.concat([int(bytes.byteLength), bytes]);
}

export function list(...elements: Uint8Array[]): Buffer {
  return Buffer.concat([int(elements.length), ...elements]);
}

/** One entry of an ACL. */
export function acl(permissions: number, scheme: string, id: string): Buffer {
  return Buffer.concat([int(permissions), field(scheme), field(id)]);
}
