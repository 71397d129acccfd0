import { createGunzip } from "node:zlib";
import { ADLER32_START, adler32 } from "../adler32.ts";
import { ZooKeeperFileError } from "../file-error.ts";
import type { Compression } from "../file-names.ts";
import { asBuffer } from "../record-cutter.ts";
import { CONTAINER_OWNER } from "../znode-stat.ts";
import { SnappyStream } from "./snappy-stream.ts";

/**
 * Releases by how they read a snapshot, each up to the next one. 3.6 reads a digest behind the nodes, 3.9 also the last
 * zxid. They differ in when they stumble over a null, too.
 */
export type SnapshotReader = "3.4" | "3.5" | "3.6" | "3.9";

export const SNAPSHOT_READERS: readonly SnapshotReader[] = ["3.4", "3.5", "3.6", "3.9"];

/** What of a server's settings decides whether it can read a snapshot. */
export interface SnapshotReaderSettings {
  /** Largest path, data or ACL text in bytes; servers add to `jute.maxbuffer`. */
  readonly maxFieldBytes: number;
  readonly digestEnabled: boolean;
  readonly extendedTypesEnabled: boolean;
}

/** An ephemeral node that a server remembers from a snapshot that it then passed over. */
export interface StrayNode {
  readonly owner: bigint;
  readonly path: string;
}

/**
 * What a server does with one snapshot that is not good.
 *
 * - `unseen`: its quick look at the beginning or the end of the file says that it is no snapshot;
 * - `passed-over`: it fails to read it, and tries the next one;
 * - `stops`: it ends with an exception that it did not expect, whatever other snapshots there are;
 * - `loads`: it does not look at what is wrong with it.
 */
export interface DamagedSnapshotReading {
  readonly outcome: "unseen" | "passed-over" | "stops" | "loads";
  /** What the server stumbles over, with its place; only for `stops`. */
  readonly reason: string | null;
  /**
   * Nodes of sessions that the file does not list. Servers do not forget them when they pass the file over, and delete
   * these paths at the end of the start, in whatever snapshot they load instead.
   */
  readonly strays: readonly StrayNode[];
  /** The highest txn that left a trace in a node's stat. */
  readonly highestZxid: bigint;
}

export const UNSEEN: DamagedSnapshotReading = { outcome: "unseen", reason: null, strays: [], highestZxid: 0n };

const MAGIC = 0x5a4b534e;
const SNAPSHOT_END: Buffer = Buffer.from([0, 0, 0, 1, 0x2f]);
const SNAPPY_MAGIC: Buffer = Buffer.from([0x82, 0x53, 0x4e, 0x41, 0x50, 0x50, 0x59, 0]);
/** Session ids and stray nodes that are kept; a made-up file may claim any number. */
const MAX_KEPT = 1_000_000;

/**
 * The quick look that decides whether a server tries a file at all, at its first 8 and its last 5 bytes. Servers up to
 * 3.5 know no compressed files, and do not get here with one, as its name has three parts.
 */
export function looksLikeSnapshot(compression: Compression, size: number, head: Buffer, tail: Buffer): boolean {
  if (compression === "gz") return head[0] === 0x1f && head[1] === 0x8b;
  if (compression === "snappy") return head.equals(SNAPPY_MAGIC);
  return size >= 10 && tail.equals(SNAPSHOT_END);
}

/** The server's exception that makes it try the next snapshot. */
class PassedOver extends Error {}
/** The same, where it is known that the bytes are at an end. */
class EndOfFile extends PassedOver {}
/** Any other exception: the server ends. */
class Stopped extends Error {}

/**
 * Reads a snapshot as a server does, with all that it does not look at: for files that the strict check refuses.
 *
 * Differs from a server in one thing: a node must follow its parent or a node below that, as in every file that a
 * server wrote.
 */
export async function readDamagedSnapshot(
  open: () => AsyncIterable<Uint8Array>,
  compression: Compression,
  reader: SnapshotReader,
  settings: SnapshotReaderSettings,
): Promise<DamagedSnapshotReading> {
  const chunks = plainBytes(open, compression);
  const reading = new Reading(new PulledBytes(chunks), reader, settings);
  let outcome: DamagedSnapshotReading["outcome"] = "loads";
  let reason: string | null = null;
  try {
    await reading.read();
  } catch (error) {
    if (error instanceof PassedOver) outcome = "passed-over";
    else if (error instanceof Stopped) [outcome, reason] = ["stops", error.message];
    else throw error;
  } finally {
    await chunks.return(undefined);
  }
  const strays = outcome === "passed-over" ? reading.strays() : [];
  return { outcome, reason, strays, highestZxid: reading.highestZxid };
}

class Reading {
  highestZxid = 0n;
  readonly #bytes: PulledBytes;
  readonly #reader: SnapshotReader;
  readonly #settings: SnapshotReaderSettings;
  readonly #sessions = new Set<bigint>();
  readonly #owned: StrayNode[] = [];

  constructor(bytes: PulledBytes, reader: SnapshotReader, settings: SnapshotReaderSettings) {
    this.#bytes = bytes;
    this.#reader = reader;
    this.#settings = settings;
  }

  strays(): StrayNode[] {
    return this.#owned.filter(({ owner }) => !this.#sessions.has(owner));
  }

  async read(): Promise<void> {
    if ((await this.#int()) !== MAGIC) throw new PassedOver();
    await this.#take(12);
    await this.#readSessions();
    await this.#readAcls();
    await this.#readNodes();
    await this.#readSeal();
    const { digestEnabled } = this.#settings;
    if (
      (this.#reader === "3.6" || this.#reader === "3.9") &&
      digestEnabled &&
      (await this.#isThere(() => this.#readDigest()))
    ) {
      await this.#readSeal();
    }
    if (this.#reader === "3.9" && (await this.#isThere(() => this.#take(8)))) await this.#readSeal();
  }

  async #readSessions(): Promise<void> {
    for (let left = await this.#int(); left > 0; left--) {
      const id = (await this.#take(12)).readBigInt64BE(0);
      if (this.#sessions.size < MAX_KEPT) this.#sessions.add(id);
    }
  }

  async #readAcls(): Promise<void> {
    let nullAt: number | null = null;
    for (let left = await this.#int(); left > 0; left--) {
      await this.#take(8);
      const place = this.#bytes.offset;
      const entries = await this.#int();
      if (entries === -1) throw new Stopped(`an ACL at byte ${place} is null`);
      for (let entry = 0; entry < entries; entry++) {
        await this.#take(4);
        const at = this.#bytes.offset;
        const scheme = await this.#field();
        const id = await this.#field();
        if (scheme === null || id === null) nullAt ??= at;
      }
      if (nullAt !== null && (this.#reader === "3.4" || this.#reader === "3.5")) break;
    }
    if (nullAt !== null) throw new Stopped(`a text of an ACL at byte ${nullAt} is null`);
  }

  async #readNodes(): Promise<void> {
    let previous: Buffer | null = null;
    while (true) {
      const place = this.#bytes.offset;
      const lent = await this.#field();
      if (lent === null) {
        if (this.#reader !== "3.4") await this.#readNode();
        throw new Stopped(`the path of a node at byte ${place} is null`);
      }
      if (lent.byteLength === 1 && lent[0] === 0x2f) return;
      const path = Buffer.from(lent);
      const owner = await this.#readNode();
      const slash = path.lastIndexOf(0x2f);
      if (slash !== -1) {
        if (previous === null || !isAncestor(path.subarray(0, slash), previous)) throw new PassedOver();
        this.#noteOwner(path, owner, place);
      }
      previous = path;
    }
  }

  #noteOwner(path: Buffer, owner: bigint, place: number): void {
    if (owner === 0n) return;
    const bits = BigInt.asUintN(64, owner);
    if (this.#settings.extendedTypesEnabled && this.#reader !== "3.4" && bits >> 56n === 0xffn) {
      if (((bits >> 40n) & 0xffffn) !== 0n) {
        throw new Stopped(`a node at byte ${place} is of an extended type that does not exist`);
      }
      return;
    }
    if (owner === CONTAINER_OWNER && this.#reader !== "3.4") return;
    if (this.#owned.length < MAX_KEPT) this.#owned.push({ owner, path: path.toString() });
  }

  /** Returns the ephemeral owner. */
  async #readNode(): Promise<bigint> {
    await this.#field();
    const stat = await this.#take(68);
    for (const at of [8, 16, 60]) {
      const zxid = stat.readBigInt64BE(at);
      if (zxid > this.highestZxid) this.highestZxid = zxid;
    }
    return stat.readBigInt64BE(52);
  }

  /** The text behind the checksum is read, and may be anything. */
  async #readSeal(): Promise<void> {
    const sum = this.#bytes.adler();
    const found = (await this.#take(8)).readBigInt64BE(0);
    await this.#field();
    if (found !== BigInt(sum)) throw new PassedOver();
  }

  async #readDigest(): Promise<void> {
    await this.#take(8);
    const place = this.#bytes.offset;
    if ((await this.#int()) >= 2) {
      await this.#take(8);
      return;
    }
    // An old form, which no release has written to a file: the number as a text.
    const text = await this.#field();
    if (text !== null && !isLongText(text.toString())) {
      throw new Stopped(`the version of the digest at byte ${place} is damaged`);
    }
  }

  /** Servers take the end of the file for an older snapshot here. */
  async #isThere(read: () => Promise<unknown>): Promise<boolean> {
    try {
      await read();
      return true;
    } catch (error) {
      if (error instanceof EndOfFile) return false;
      throw error;
    }
  }

  async #int(): Promise<number> {
    return (await this.#take(4)).readInt32BE(0);
  }

  /** A text or a buffer; null where the file says so. Lent until the next read. */
  async #field(): Promise<Buffer | null> {
    const length = await this.#int();
    if (length === -1) return null;
    if (length < 0 || length > this.#settings.maxFieldBytes) throw new PassedOver();
    return await this.#take(length);
  }

  async #take(count: number): Promise<Buffer> {
    return this.#bytes.takeNow(count) ?? (await this.#bytes.take(count));
  }
}

function isAncestor(parent: Buffer, previous: Buffer): boolean {
  if (parent.byteLength === 0) return true;
  const isLongEnough = previous.byteLength === parent.byteLength || previous[parent.byteLength] === 0x2f;
  return isLongEnough && previous.subarray(0, parent.byteLength).equals(parent);
}

/** What Java's `Long.parseLong(text, 16)` takes. */
function isLongText(text: string): boolean {
  const [, sign, digits] = /^([+-]?)([0-9a-f]+)$/i.exec(text) ?? [];
  if (digits === undefined) return false;
  const value = BigInt(`0x${digits}`);
  return value < 1n << 63n || (sign === "-" && value === 1n << 63n);
}

/** Bytes of a stream on demand, and the checksum of those that were taken. */
class PulledBytes {
  /** Bytes taken so far. */
  offset = 0;
  readonly #chunks: AsyncIterator<Buffer>;
  #buffer: Buffer = Buffer.alloc(0);
  #at = 0;
  #summedTo = 0;
  #sum: number = ADLER32_START;

  constructor(chunks: AsyncIterable<Buffer>) {
    this.#chunks = chunks[Symbol.asyncIterator]();
  }

  adler(): number {
    this.#sum = adler32(this.#buffer, this.#sum, this.#summedTo, this.#at);
    this.#summedTo = this.#at;
    return this.#sum;
  }

  /** Null when they are not all there yet. The bytes are lent until the next call. */
  takeNow(count: number): Buffer | null {
    const start = this.#at;
    if (this.#buffer.byteLength - start < count) return null;
    this.#at += count;
    this.offset += count;
    return this.#buffer.subarray(start, this.#at);
  }

  async take(count: number): Promise<Buffer> {
    const parts: Buffer[] = [];
    let length = this.#buffer.byteLength - this.#at;
    this.adler();
    parts.push(this.#buffer.subarray(this.#at));
    while (length < count) {
      const next = await this.#chunks.next();
      if (next.done === true) throw new EndOfFile();
      parts.push(Buffer.from(next.value));
      length += next.value.byteLength;
    }
    this.#buffer = Buffer.concat(parts);
    this.#at = 0;
    this.#summedTo = 0;
    return this.takeNow(count) ?? Buffer.alloc(0);
  }
}

/** @throws PassedOver where the wrapping is damaged; a wrapping that ends too early is an end like any other */
async function* plainBytes(
  open: () => AsyncIterable<Uint8Array>,
  compression: Compression,
): AsyncGenerator<Buffer, void, void> {
  switch (compression) {
    case "none":
      for await (const chunk of open()) yield asBuffer(chunk);
      return;
    case "gz":
      yield* gunzipped(open);
      return;
    case "snappy": {
      const plain: Buffer[] = [];
      const stream = new SnappyStream((bytes) => plain.push(Buffer.from(bytes)));
      try {
        for await (const chunk of open()) {
          stream.push(asBuffer(chunk));
          yield* plain.splice(0);
        }
      } catch (error) {
        if (!(error instanceof ZooKeeperFileError)) throw error;
        yield* plain;
        throw new PassedOver();
      }
    }
  }
}

/** zlib does not give out what it made of the bytes before the bad one, unless they came to it one by one. */
async function* gunzipped(open: () => AsyncIterable<Uint8Array>): AsyncGenerator<Buffer, void, void> {
  let given = 0;
  let bad = 0;
  try {
    for await (const { plain, at } of inflated(open(), Number.POSITIVE_INFINITY)) {
      bad = at;
      given += plain.byteLength;
      yield plain;
    }
    return;
  } catch (error) {
    if (!isGzipDamage(error)) throw error;
  }
  let skipped = 0;
  try {
    for await (const { plain } of inflated(open(), bad)) {
      const rest = plain.subarray(Math.min(plain.byteLength, given - skipped));
      skipped += plain.byteLength - rest.byteLength;
      if (rest.byteLength > 0) yield rest;
    }
  } catch (error) {
    if (!isGzipDamage(error)) throw error;
  }
  throw new PassedOver();
}

function isGzipDamage(error: unknown): boolean {
  return String((error as { code?: unknown } | null)?.code).startsWith("Z_");
}

const SLICE_BYTES: number = 64 * 1024;

/** What the bytes up to `at` inflate to, which from `fineFrom` on are inflated one by one. */
async function* inflated(
  body: AsyncIterable<Uint8Array>,
  fineFrom: number,
): AsyncGenerator<{ plain: Buffer; at: number }, void, void> {
  const gunzip = createGunzip();
  let failure: unknown = null;
  const plain: Buffer[] = [];
  gunzip.on("data", (part: Buffer) => plain.push(part));
  gunzip.on("error", (error) => {
    failure = error;
  });
  let at = 0;
  try {
    for await (const chunk of body) {
      for (let start = 0; start < chunk.byteLength; ) {
        const size = at < fineFrom ? Math.min(SLICE_BYTES, fineFrom - at) : 1;
        const slice = Buffer.from(chunk.subarray(start, start + size));
        await new Promise<void>((resolve) => {
          gunzip.once("close", resolve);
          gunzip.write(slice, () => {
            gunzip.off("close", resolve);
            resolve();
          });
        });
        if (failure !== null) throw failure;
        start += slice.byteLength;
        at += slice.byteLength;
        yield { plain: Buffer.concat(plain.splice(0)), at };
      }
    }
  } finally {
    gunzip.destroy();
  }
}
