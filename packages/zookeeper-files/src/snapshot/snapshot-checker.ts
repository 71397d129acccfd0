import { createGunzip, type Gunzip } from "node:zlib";
import { ZooKeeperFileError } from "../file-error.ts";
import type { Compression } from "../file-names.ts";
import { asBuffer } from "../record-cutter.ts";
import { SnappyStream } from "./snappy-stream.ts";
import { DEFAULT_MAX_FIELD_BYTES, type SnapshotHooks, SnapshotParser } from "./snapshot-parser.ts";
import type { SnapshotSummary } from "./snapshot-summary.ts";

export interface SnapshotCheckOptions extends SnapshotHooks {
  /** How the bytes that are pushed are wrapped; see {@link parseFileName}. Default `none`. */
  readonly compression?: Compression;
  /**
   * Largest path, data or ACL text to accept, in bytes; a file that claims more is refused before any memory is
   * taken for it. Default {@link DEFAULT_MAX_FIELD_BYTES}, 64 MiB.
   */
  readonly maxFieldBytes?: number;
}

/** Takes the bytes of one snapshot file, as stored, in chunks of any size. */
export interface SnapshotChecker {
  /**
   * Wait for what it returns, if it returns something, before the next push. The chunk is only borrowed until then.
   *
   * @throws ZooKeeperFileError `SNAPSHOT_...` as soon as the bytes cannot be those of a good snapshot (or rejects)
   */
  push(chunk: Uint8Array): void | Promise<void>;
  /**
   * The file is complete.
   *
   * @throws ZooKeeperFileError `SNAPSHOT_...` unless the whole file is a complete and intact snapshot
   */
  end(): Promise<SnapshotSummary>;
  /** Gives everything back. Needed when `end` is not reached, harmless otherwise. */
  close(): void;
}

/**
 * Checks a snapshot while its bytes pass by: the whole structure and every checksum, of all releases from 3.4 to 3.9.
 *
 * Memory is bounded by the largest record (and, with 40 bytes or so each, by the distinct ACLs), whatever the file
 * claims. A file that ends right behind one of its seals is a good file of an older release, and is accepted: see the
 * README.
 */
export function createSnapshotChecker(options: SnapshotCheckOptions = {}): SnapshotChecker {
  const parser = new SnapshotParser(options.maxFieldBytes ?? DEFAULT_MAX_FIELD_BYTES, options);
  switch (options.compression ?? "none") {
    case "none":
      return {
        push: (chunk) => parser.push(asBuffer(chunk)),
        end: async () => parser.end(),
        close: () => {},
      };
    case "snappy": {
      const stream = new SnappyStream((plain) => parser.push(plain));
      return {
        push: (chunk) => stream.push(asBuffer(chunk)),
        end: async () => {
          stream.end();
          return parser.end();
        },
        close: () => {},
      };
    }
    case "gz":
      return new GzipSnapshotChecker(parser);
  }
}

/**
 * Checks a whole snapshot file, as stored.
 *
 * @throws ZooKeeperFileError `SNAPSHOT_...` unless it is a complete and intact snapshot; and whatever `body` throws
 */
export async function checkSnapshot(
  body: AsyncIterable<Uint8Array>,
  options: SnapshotCheckOptions = {},
): Promise<SnapshotSummary> {
  const checker = createSnapshotChecker(options);
  try {
    for await (const chunk of body) {
      const wait = checker.push(chunk);
      if (wait !== undefined) await wait;
    }
    return await checker.end();
  } finally {
    checker.close();
  }
}

/** Members that follow each other are one stream, as they are to Java's GZIPInputStream. */
class GzipSnapshotChecker implements SnapshotChecker {
  readonly #parser: SnapshotParser;
  readonly #gunzip: Gunzip = createGunzip({ chunkSize: 256 * 1024 });
  #pushed = 0;
  #failure: unknown = null;

  constructor(parser: SnapshotParser) {
    this.#parser = parser;
    this.#gunzip.on("data", (plain: Buffer) => {
      if (this.#failure !== null) return;
      try {
        this.#parser.push(plain);
      } catch (error) {
        this.#fail(error);
      }
    });
    this.#gunzip.on("error", (error) => this.#fail(gunzipError(error)));
  }

  async push(chunk: Uint8Array): Promise<void> {
    this.#pushed += chunk.byteLength;
    await this.#settled((done) => this.#gunzip.write(chunk, done));
  }

  async end(): Promise<SnapshotSummary> {
    await this.#settled((done) => {
      this.#gunzip.once("end", done);
      this.#gunzip.end();
    });
    // zlib skips zeros behind the last member. What it reports as written is what it has used.
    if (this.#gunzip.bytesWritten < this.#pushed) {
      const message = `something follows the gzip stream, at byte ${this.#gunzip.bytesWritten} of the compressed file`;
      throw new ZooKeeperFileError("SNAPSHOT_TRAILING_BYTES", null, message);
    }
    return this.#parser.end();
  }

  close(): void {
    this.#gunzip.destroy();
  }

  #fail(error: unknown): void {
    this.#failure ??= error;
    this.#gunzip.destroy();
  }

  /** Runs one step; zlib's callbacks may be lost when the stream is destroyed, its `close` event is not. */
  #settled(step: (done: (error?: Error | null) => void) => void): Promise<void> {
    return new Promise((resolve, reject) => {
      const settle = (error?: Error | null): void => {
        this.#gunzip.off("close", settle);
        if (error) this.#failure ??= gunzipError(error);
        if (this.#failure === null) resolve();
        else reject(this.#failure);
      };
      if (this.#failure !== null || this.#gunzip.destroyed) {
        settle();
        return;
      }
      this.#gunzip.on("close", settle);
      step(settle);
    });
  }
}

function gunzipError(cause: Error & { code?: string }): ZooKeeperFileError {
  if (cause.code === "Z_BUF_ERROR") {
    const message = "the gzip stream ends too early: the file is still being written, or was cut";
    return new ZooKeeperFileError("SNAPSHOT_TRUNCATED", null, message, { cause });
  }
  const message = `the gzip stream is damaged (${cause.message})`;
  return new ZooKeeperFileError("SNAPSHOT_BAD_COMPRESSION", null, message, { cause });
}
