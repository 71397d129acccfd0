import fc, { type Arbitrary } from "fast-check";
import type { AclEntry } from "../acl.ts";
import type { MultiOp, Txn, TxnBody } from "../log/txn.ts";
import type { NodeContent, SnapshotContent } from "../snapshot/write-snapshot.ts";
import type { ZnodeStat } from "../znode-stat.ts";

const int: Arbitrary<number> = fc.integer({ min: -(2 ** 31), max: 2 ** 31 - 1 });
const long: Arbitrary<bigint> = fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n });
const timeMs: Arbitrary<number> = fc.maxSafeInteger();
const data: Arbitrary<Buffer | null> = fc.option(fc.uint8Array({ maxLength: 50 }).map((bytes) => Buffer.from(bytes)));
/** Any UTF-16, halves of characters too. */
const text: Arbitrary<string> = fc.oneof(
  fc.string({ unit: "binary" }),
  fc.array(fc.integer({ max: 0xffff, min: 0 })).map((units) => String.fromCharCode(...units)),
);
const name: Arbitrary<string> = fc
  .oneof(fc.string({ minLength: 1, maxLength: 5 }), fc.string({ unit: "binary", minLength: 1 }))
  .map((part) => part.replaceAll("/", "-"));
const path: Arbitrary<string> = fc
  .array(name, { minLength: 1, maxLength: 4 })
  .map((names) => names.map((part) => `/${part}`).join(""));
const anyPath: Arbitrary<string> = fc.oneof(path, fc.constant("/"));
const acl: Arbitrary<AclEntry[]> = fc.array(fc.record({ permissions: int, scheme: text, id: text }), { maxLength: 3 });
const create = { path, data, acl: fc.option(acl), parentCversion: int };

const op: Arbitrary<MultiOp> = fc.oneof(
  fc.record({ type: fc.constantFrom("create" as const, "create2" as const), ...create, ephemeral: fc.boolean() }),
  fc.record({ type: fc.constant("createContainer" as const), ...create }),
  fc.record({ type: fc.constant("createTtl" as const), ...create, ttlMs: long }),
  fc.record({ type: fc.constantFrom("delete" as const, "deleteContainer" as const), path }),
  fc.record({ type: fc.constant("setData" as const), path: anyPath, data, version: int }),
  fc.record({ type: fc.constant("check" as const), path: anyPath, version: int }),
  fc.record({ type: fc.constant("error" as const), errorCode: int }),
);

const body: Arbitrary<TxnBody> = fc.oneof(
  { weight: 7, arbitrary: op },
  fc.record({ type: fc.constant("reconfig" as const), path: anyPath, data, version: int }),
  fc.record({ type: fc.constant("setAcl" as const), path: anyPath, acl: fc.option(acl), version: int }),
  fc.record({ type: fc.constant("multi" as const), ops: fc.array(op, { maxLength: 4 }) }),
  fc.record({ type: fc.constant("createSession" as const), timeoutMs: int }),
  fc.record({ type: fc.constant("closeSession" as const), paths: fc.option(fc.array(path)) }),
);

const header: Arbitrary<Omit<Txn, "type">> = fc.record({
  zxid: long,
  timeMs,
  sessionId: long,
  cxid: int,
  digest: fc.option(fc.record({ version: fc.constant(2), value: long })),
});

/** Any txn that servers read. */
export const anyTxn: Arbitrary<Txn> = fc.tuple(header, body).map(([fields, rest]) => ({ ...fields, ...rest }));

/** Txns that follow each other, with no check outside of a multi. */
export const anyLog: Arbitrary<Txn[]> = fc
  .tuple(
    fc.bigInt({ min: 1n, max: 2n ** 62n }),
    fc.array(
      anyTxn.filter(({ type }) => type !== "check"),
      { maxLength: 12 },
    ),
  )
  .map(([first, txns]) => {
    const epoch = (first >> 32n) << 32n;
    return txns.map((txn, i) => ({ ...txn, zxid: epoch + BigInt(i + 1) }));
  });

const stat: Arbitrary<ZnodeStat> = fc.record({
  czxid: long,
  mzxid: long,
  pzxid: long,
  ctimeMs: timeMs,
  mtimeMs: timeMs,
  version: int,
  cversion: int,
  aversion: int,
  ephemeralOwner: fc.oneof(fc.constant(0n), fc.constant(-(2n ** 63n)), long),
});

const rest = { data, aclId: long, stat };

/** A tree: a root, and nodes that hang below one that was made before. */
const nodes: Arbitrary<NodeContent[]> = fc
  .tuple(fc.record(rest), fc.array(fc.record({ parent: fc.nat(), name, ...rest }), { maxLength: 15 }))
  .map(([root, made]) => {
    interface Placed {
      readonly node: NodeContent;
      readonly children: Map<string, Placed>;
    }
    const all: Placed[] = [{ node: { path: "", ...root }, children: new Map() }];
    for (const { parent, name: own, ...content } of made) {
      const above = all[parent % all.length] as Placed;
      if (above.children.has(own)) continue;
      const placed = { node: { path: `${above.node.path}/${own}`, ...content }, children: new Map() };
      above.children.set(own, placed);
      all.push(placed);
    }
    const depthFirst = (placed: Placed): NodeContent[] => [
      placed.node,
      ...[...placed.children.values()].flatMap(depthFirst),
    ];
    return depthFirst(all[0] as Placed);
  });

/** Any snapshot that servers load. */
export const anySnapshot: Arbitrary<Required<SnapshotContent> & { readonly nodes: NodeContent[] }> = fc.record({
  sessions: fc.array(fc.tuple(long, int), { maxLength: 4 }).map((entries) => new Map(entries)),
  acls: fc.array(fc.tuple(long, acl), { maxLength: 4 }).map((entries) => new Map(entries.filter(([id]) => id !== -1n))),
  nodes,
  digest: fc.option(fc.record({ zxid: long, version: fc.integer({ min: 2, max: 2 ** 31 - 1 }), value: long })),
  lastZxid: fc.option(long),
});

/** Sizes of the chunks that a file may arrive in, one after the other, from the start again at the end. */
export const chunkSizes: Arbitrary<number[]> = fc.array(fc.integer({ min: 1, max: 300 }), {
  minLength: 1,
  maxLength: 8,
});

export async function* inChunks(bytes: Uint8Array, sizes: readonly number[]): AsyncGenerator<Uint8Array, void, void> {
  let at = 0;
  for (let i = 0; at < bytes.byteLength; i++) {
    const size = sizes[i % sizes.length] as number;
    // A copy, which is spoilt when the next one is asked for.
    const chunk = Uint8Array.from(bytes.subarray(at, at + size));
    yield chunk;
    chunk.fill(0xaa);
    at += size;
  }
}

/** What can happen to a file: returns other bytes, or the same where there is nothing to change. */
export const damage: Arbitrary<(bytes: Buffer) => Buffer> = fc
  .tuple(
    fc.constantFrom("flip", "cut", "insert", "duplicate", "remove", "zero"),
    fc.nat(),
    fc.nat(),
    fc.uint8Array({ minLength: 1, maxLength: 20 }),
  )
  .map(([kind, a, b, bytes]) => {
    const change = (file: Buffer): Buffer => {
      const start = a % (file.byteLength + 1);
      const end = start + (b % (file.byteLength - start + 1));
      const [before, between, after] = [file.subarray(0, start), file.subarray(start, end), file.subarray(end)];
      switch (kind) {
        case "flip": {
          const copy = Buffer.from(file);
          copy[start] = (copy[start] ?? 0) ^ (1 << (b % 8));
          return copy;
        }
        case "cut":
          return before;
        case "insert":
          return Buffer.concat([before, bytes, between, after]);
        case "duplicate":
          return Buffer.concat([before, between, between, after]);
        case "remove":
          return Buffer.concat([before, after]);
        case "zero":
          return Buffer.concat([before, Buffer.alloc(between.byteLength), after]);
      }
    };
    return Object.assign(change, { [fc.toStringMethod]: () => `${kind} at ${a}, ${b}` });
  });
