import { Header, Pax } from "tar";
import type { Archiver } from "./archiver.ts";
import type { Bytes } from "./bytes.ts";
import { type Entry, requireEntryPath } from "./entry.ts";
import { abortError, BackypError } from "./errors.ts";

const BLOCK_BYTES = 512;
/** A pax header holds a path and a few numbers; one that is larger is not ours and would only cost memory. */
const MAX_PAX_BYTES = 1024 * 1024;

/**
 * POSIX pax archives, written and read as streams: memory does not depend on the size of a file. Long names and files
 * over 8 GiB get a pax header, as `tar` of GNU, BSD and Python read them. Reading refuses an archive without its end
 * mark, so that one that was cut between two files does not pass for a whole one.
 */
export const tar: Archiver = {
  id: "tar",
  extension: "tar",

  async *pack(entries, { signal }) {
    for await (const entry of entries) {
      if (signal.aborted) throw abortError(signal);
      yield encodeHeader(entry);
      let size = 0;
      for await (const chunk of entry.body) {
        size += chunk.byteLength;
        if (size > entry.size) break;
        yield chunk;
      }
      if (size !== entry.size) {
        throw new BackypError(
          "ERR_SOURCE_CHANGED",
          `${entry.path} was to have ${entry.size} bytes but ${size > entry.size ? "has more" : `ended after ${size}`}`,
          { details: { path: entry.path } },
        );
      }
      const padding = paddingAfter(size);
      if (padding > 0) yield Buffer.alloc(padding);
    }
    yield Buffer.alloc(2 * BLOCK_BYTES);
  },

  async *unpack(archive, { signal }) {
    const reader = new ByteReader(archive);
    try {
      let extended: Pax | undefined;
      while (true) {
        if (signal.aborted) throw abortError(signal);
        const block = await reader.exactly(BLOCK_BYTES);
        if (isZero(block)) break;
        const header = decodeHeader(block, extended);
        if (header.type === "ExtendedHeader") {
          extended = await readPax(reader, header);
          continue;
        }
        extended = undefined;
        const entry = toEntry(header, reader);
        yield entry;
        // What the consumer left unread stands before the next header.
        for await (const _ of entry.body) if (signal.aborted) throw abortError(signal);
        await reader.exactly(paddingAfter(entry.size));
      }
      await requireOnlyZerosLeft(reader);
    } finally {
      await reader.close();
    }
  },
};

function paddingAfter(size: number): number {
  return (BLOCK_BYTES - (size % BLOCK_BYTES)) % BLOCK_BYTES;
}

function encodeHeader(entry: Entry): Uint8Array {
  const fields = {
    path: requireEntryPath(entry.path),
    size: entry.size,
    mtime: entry.mtime,
    mode: 0o640,
    uid: 0,
    gid: 0,
    type: "File",
  } as const;
  const header = new Header(fields);
  const block = Buffer.alloc(BLOCK_BYTES);
  const needsPax = header.encode(block);
  return needsPax ? Buffer.concat([new Pax(fields).encode(), block]) : block;
}

function decodeHeader(block: Buffer, extended: Pax | undefined): Header {
  const header = new Header(block, 0, extended);
  if (!header.cksumValid) throw corrupt("a header's checksum is wrong");
  return header;
}

async function readPax(reader: ByteReader, header: Header): Promise<Pax> {
  const size = header.size ?? 0;
  if (size > MAX_PAX_BYTES) throw corrupt(`an extended header of ${size} bytes`);
  const body = await reader.exactly(size);
  await reader.exactly(paddingAfter(size));
  return Pax.parse(body.toString("utf8"));
}

function toEntry(header: Header, reader: ByteReader): Entry {
  const path = requireEntryPath(header.path ?? "");
  const { size } = header;
  if (header.type !== "File" && header.type !== "OldFile") {
    throw corrupt(`${path} is no plain file but a ${header.type}`);
  }
  if (size === undefined || !Number.isSafeInteger(size) || size < 0) throw corrupt(`${path} has no usable size`);
  return { path, size, mtime: header.mtime ?? new Date(0), body: reader.upTo(size) };
}

async function requireOnlyZerosLeft(reader: ByteReader): Promise<void> {
  if (!isZero(await reader.exactly(BLOCK_BYTES))) throw corrupt("the end mark is damaged");
  for (let rest = await reader.some(); rest !== undefined; rest = await reader.some()) {
    if (!isZero(rest)) throw corrupt("bytes follow after the end mark");
  }
}

function isZero(bytes: Uint8Array): boolean {
  return bytes.every((byte) => byte === 0);
}

function corrupt(what: string): BackypError {
  return new BackypError("ERR_ARCHIVE_CORRUPT", `not a complete tar archive: ${what}`);
}

/** Takes given numbers of bytes from a stream of chunks of any sizes. */
class ByteReader {
  readonly #iterator: AsyncIterator<Uint8Array>;
  #chunk: Uint8Array = new Uint8Array(0);
  #ended = false;

  constructor(body: Bytes) {
    this.#iterator = body[Symbol.asyncIterator]();
  }

  /** The next bytes, at least one, as they come; at most `limit`. Undefined at the end. */
  async some(limit: number = Number.POSITIVE_INFINITY): Promise<Uint8Array | undefined> {
    while (this.#chunk.byteLength === 0) {
      if (this.#ended) return undefined;
      const next = await this.#iterator.next();
      if (next.done === true) this.#ended = true;
      else this.#chunk = next.value;
    }
    const taken = this.#chunk.subarray(0, limit);
    this.#chunk = this.#chunk.subarray(taken.byteLength);
    return taken;
  }

  async exactly(size: number): Promise<Buffer> {
    const parts: Uint8Array[] = [];
    let missing = size;
    while (missing > 0) {
      const part = await this.some(missing);
      if (part === undefined) throw corrupt("it ends too early");
      parts.push(part);
      missing -= part.byteLength;
    }
    return Buffer.concat(parts, size);
  }

  /** The next `size` bytes as a stream that can be left and taken up again. */
  upTo(size: number): AsyncIterable<Uint8Array> {
    let missing = size;
    const next = async (): Promise<IteratorResult<Uint8Array>> => {
      if (missing === 0) return { done: true, value: undefined };
      const part = await this.some(missing);
      if (part === undefined) throw corrupt("it ends in the middle of a file");
      missing -= part.byteLength;
      return { done: false, value: part };
    };
    return { [Symbol.asyncIterator]: () => ({ next }) };
  }

  async close(): Promise<void> {
    if (!this.#ended) await this.#iterator.return?.();
    this.#ended = true;
  }
}
