import { createHash, randomUUID } from "node:crypto";
import { createReadStream, createWriteStream } from "node:fs";
import { mkdir, rename, rm } from "node:fs/promises";
import { dirname } from "node:path";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { setTimeout as sleep } from "node:timers/promises";
import { getCACertificates, setDefaultCACertificates } from "node:tls";

/** Maven Central, or where `MAVEN_CENTRAL_URL` says that a mirror of it is. No slash at the end. */
export const MAVEN_CENTRAL: string = baseUrl(process.env.MAVEN_CENTRAL_URL, "https://repo1.maven.org/maven2");

const ATTEMPTS = 3;
// Of a whole file, 50 MB for some. A host that does not answer at all is given up earlier by Node itself.
const TIMEOUT_MS = 300_000;

/** Whatever was to be fetched is out of reach at the moment: no network, no such host, an HTTP status other than 200. */
export class UnreachableError extends Error {}

/** A file at its place of publication, known by its content. */
export interface PinnedFile {
  readonly url: string;
  /** 64 hexadecimal digits. */
  readonly sha256: string;
}

/**
 * Sees to it that `path` is that file: leaves it alone if it is, else downloads it, in up to three attempts. `path` never
 * holds a part of it, and several processes may do this at the same time.
 *
 * @throws UnreachableError if it cannot be had
 * @throws Error if there is another file at that URL than the one that was pinned
 */
export async function fetchPinned({ url, sha256 }: PinnedFile, path: string): Promise<void> {
  if ((await sha256OfFile(path)) === sha256) return;
  await mkdir(dirname(path), { recursive: true });
  const temporary = `${path}.${randomUUID()}.tmp`;
  try {
    const received = await download(url, temporary);
    if (received !== sha256) throw new Error(`${url} has the SHA-256 ${received} instead of ${sha256}`);
    await rename(temporary, path);
  } finally {
    await rm(temporary, { force: true });
  }
}

/** A registry's address: what the environment says, else the public one; without slashes at its end. */
export function baseUrl(configured: string | undefined, fallback: string): string {
  return (configured || fallback).replace(/\/+$/, "");
}

async function download(url: string, path: string): Promise<string> {
  // Where a company's proxy stands in between, its certificate is known to the system and not to Node.
  setDefaultCACertificates([...new Set([...getCACertificates("default"), ...getCACertificates("system")])]);
  for (let attempt = 1; ; attempt += 1) {
    try {
      const response = await fetch(url, { signal: AbortSignal.timeout(TIMEOUT_MS) });
      if (!response.ok || response.body === null) throw new Error(`HTTP status ${response.status}`);
      const hash = createHash("sha256");
      await pipeline(
        Readable.fromWeb(response.body),
        async function* (chunks: AsyncIterable<Uint8Array>) {
          for await (const chunk of chunks) {
            hash.update(chunk);
            yield chunk;
          }
        },
        createWriteStream(path),
      );
      return hash.digest("hex");
    } catch (error) {
      // A full disk is no matter of the network.
      if ((error as NodeJS.ErrnoException).syscall === "write") throw error;
      if (attempt === ATTEMPTS) throw new UnreachableError(`cannot fetch ${url}: ${reason(error)}`);
      await sleep(500 * attempt);
    }
  }
}

/** The SHA-256 of a file in hexadecimal digits, `null` if there is none. */
export async function sha256OfFile(path: string): Promise<string | null> {
  const hash = createHash("sha256");
  try {
    await pipeline(createReadStream(path), hash);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return null;
    throw error;
  }
  return hash.digest("hex");
}

// fetch itself says no more than "fetch failed".
function reason(error: unknown): string {
  const { message, cause } = error as Error;
  return cause instanceof Error ? `${message} (${cause.message})` : message;
}
