import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { open } from "node:fs/promises";
import { join } from "node:path";
import { type JsonValue, type Logger, type Manifest, systemErrorCode } from "@zk-backyp/core";
import { createLogChecker, epochOf } from "@zk-backyp/zookeeper-files";
import { type ListedFile, listDataFiles } from "../data-files.ts";
import { DATA_FOLDER } from "../verifier.ts";
import { type MemberFolder, unavailable } from "./member-folders.ts";

/**
 * How far at least above every epoch that is known. Other members, and clients of theirs, may have seen later ones: each
 * election that this member was not there for makes one. More than a hundred of them since its own last one, and since
 * the newest backup, is no ensemble whose data is worth much.
 */
const MARGIN = 100n;

/**
 * Restored epochs are a multiple of this, and a number that the backup's data gives. Members restore by themselves and
 * know different epochs, and one that comes late with a higher one than the others began with is not let in before their
 * next election; so all of them have to arrive at the same multiple. No ensemble has a hundred thousand elections between
 * two restores, and two thousand restores fit.
 */
const EPOCH_STEP = 1_000_000n;

/**
 * Members that were given different backups must not begin with the same epoch: with the same last zxid they would take
 * each other for equal, and nobody would notice that they differ. So each backup has one of these places...
 */
const PLACES = 90_000n;

/** ...this far apart, since each election makes the next epoch: one that leads may come to where others begin. */
const PLACE_DISTANCE = 10n;

/** A zxid is a signed number, with the epoch in its upper half. */
const HIGHEST = 0x7fff_ffffn;

/** Beside the data: which backup this is, and with which epoch it was put here. Servers do not look at it. */
export const RECORD_FILE = "zk-backyp-restored.json";

/** What a member's old files tell of epochs. */
export interface MemberHistory {
  /** The highest that it knows. */
  readonly epoch: bigint;
  /** The one that its last restore wrote, if its data comes from one. */
  readonly restored: bigint | null;
  /** Whether no server has served with what that restore wrote. */
  readonly isUntouched: boolean;
}

/** What a backup, and the newest one of its series, say of epochs. */
export interface BackupHistory {
  /** The highest that they know. */
  readonly epoch: bigint;
  /** How far above a multiple the epoch is that a restore of this backup begins with, as {@link epochOffset} tells. */
  readonly offset: bigint;
}

/**
 * The epoch that a member is to begin with: above all of its own and of the store's, the same that other members come to
 * with the same backup, and another one than those come to that are given another backup.
 */
export function raisedEpoch(
  { epoch: own, restored, isUntouched }: MemberHistory,
  { epoch: store, offset }: BackupHistory,
): bigint {
  const known = own > store ? own : store;
  const begun = multipleIn(known);
  const epoch = begun + offset;
  const isOfThisRestore =
    // Above what the store knows: members were restored, and since then no backup was made.
    begun > store &&
    (multipleIn(restored ?? 0n) < begun
      ? // Not this one: it was running and has joined them. Once more would lock it out, until it wins over them. Those
        // that were given another backup it has to be above, as they themselves would be.
        epoch <= own && own <= epoch + MARGIN
      : // This one too, but no server has served with that: it is done once more. With another backup only if it has not
        // accepted an epoch since either, by which others could be ahead.
        isUntouched && (restored === epoch || restored === own));
  return isOfThisRestore ? epoch : multipleIn(known + MARGIN + EPOCH_STEP - 1n) + offset;
}

function multipleIn(epoch: bigint): bigint {
  return epoch - (epoch % EPOCH_STEP);
}

/** Made from all that a restore writes: the same for every copy of a backup, and another one for other data. */
export function epochOffset({ entries }: Pick<Manifest, "entries">): bigint {
  const hash = createHash("sha256");
  const data = entries
    .filter(({ path }) => path.startsWith(DATA_FOLDER))
    .map(({ path, sha256 }) => `${sha256} ${path}\n`);
  for (const line of data.sort()) hash.update(line);
  return (1n + (hash.digest().readBigUInt64BE() % PLACES)) * PLACE_DISTANCE;
}

/** @throws BackypError `ERR_TARGET_UNAVAILABLE` */
export function requireEpoch(epoch: bigint, { directory }: MemberFolder): void {
  if (epoch <= HIGHEST) return;
  throw unavailable(
    directory,
    `an epoch there, or in the backup, is so high that none fits above it (${epoch} would be next, and the highest is ${HIGHEST}): move version-2 away by hand`,
  );
}

/** The highest epoch that a backup knows of. */
export function epochOfBackup({ range, facts }: Manifest): bigint {
  const { epochs, server } = facts as { epochs?: Facts; server?: Facts };
  return highest([
    epochOfZxid(range.upTo),
    epochOfZxid(server?.zxid),
    parseEpoch(epochs?.current),
    parseEpoch(epochs?.accepted),
  ]);
}

type Facts = { readonly [name: string]: JsonValue } | null;

/** What the files say that are to be replaced. */
export async function memberHistory(folders: readonly MemberFolder[], logger: Logger): Promise<MemberHistory> {
  const files: (ListedFile & { readonly path: string })[] = [];
  const epochs: bigint[] = [];
  let current: bigint | null = null;
  let restored: bigint | null = null;
  for (const { version2 } of folders) {
    for (const kind of ["snapshot", "log"] as const) {
      const listed = await listDataFiles(version2, kind).catch(unlessMissing);
      for (const file of listed ?? []) files.push({ ...file, path: join(version2, file.file) });
    }
    for (const name of ["currentEpoch", "acceptedEpoch", "currentEpoch.tmp", "acceptedEpoch.tmp"]) {
      const text = await readSmall(join(version2, name));
      if (text === null) continue;
      const epoch = parseEpoch(text);
      if (epoch !== null) epochs.push(epoch);
      else
        logger.warn(
          { path: join(version2, name) },
          `${join(version2, name)} holds no epoch, and is left out of account`,
        );
      if (name === "currentEpoch") current ??= epoch;
    }
    restored ??= parseRecord(await readSmall(join(version2, RECORD_FILE)));
  }
  const newest = highest(files.map(({ zxid }) => zxid));
  epochs.push(epochOf(newest));
  // A member writes down each epoch before it logs anything of it. Without that, only the records tell.
  const log = files.filter(({ kind }) => kind === "log").reduce<(typeof files)[number] | null>(later, null);
  if (current === null && log !== null) epochs.push(await epochInLog(log.path, logger));
  return {
    epoch: highest(epochs),
    restored,
    // A member that joins others, or leads them, writes down their epoch first. A standalone server writes a snapshot.
    isUntouched: restored !== null && current === restored && newest === (restored << 32n) + 1n,
  };
}

function later<File extends ListedFile>(one: File | null, other: File): File {
  return one === null || other.zxid > one.zxid ? other : one;
}

async function epochInLog(path: string, logger: Logger): Promise<bigint> {
  const checker = createLogChecker();
  try {
    for await (const chunk of createReadStream(path)) checker.push(chunk as Buffer);
  } catch (error) {
    logger.warn({ err: error, path }, `${path} cannot be read to its end: ${(error as Error).message}`);
  }
  return highest(checker.end().runs.map(({ last }) => epochOf(last)));
}

/** The highest of them; 0 where there is none. */
export function highest(numbers: readonly (bigint | null)[]): bigint {
  return numbers.reduce<bigint>((most, number) => (number !== null && number > most ? number : most), 0n);
}

function parseEpoch(text: JsonValue | undefined): bigint | null {
  return typeof text === "string" && /^\s*\d{1,18}\s*$/.test(text) ? BigInt(text.trim()) : null;
}

function epochOfZxid(text: JsonValue | undefined): bigint | null {
  return typeof text === "string" && /^0x[0-9a-f]{1,16}$/.test(text) ? epochOf(BigInt(text)) : null;
}

function parseRecord(text: string | null): bigint | null {
  try {
    const { epoch } = JSON.parse(text ?? "{}") as { epoch?: unknown };
    return typeof epoch === "number" && Number.isSafeInteger(epoch) && epoch > 0 ? BigInt(epoch) : null;
  } catch {
    return null;
  }
}

/** The beginning of a file; null if there is none. */
async function readSmall(path: string): Promise<string | null> {
  const file = await open(path, "r").catch(unlessMissing);
  if (file === null) return null;
  try {
    const { buffer, bytesRead } = await file.read(Buffer.alloc(4096), 0, 4096, 0);
    return buffer.toString("utf8", 0, bytesRead);
  } finally {
    await file.close();
  }
}

function unlessMissing(error: unknown): null {
  if ([error, (error as Error).cause].some((one) => systemErrorCode(one) === "ENOENT")) return null;
  throw error;
}
