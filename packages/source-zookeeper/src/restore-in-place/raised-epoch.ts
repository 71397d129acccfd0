import { createReadStream } from "node:fs";
import { open } from "node:fs/promises";
import { join } from "node:path";
import { type JsonValue, type Logger, type Manifest, systemErrorCode } from "@zk-backyp/core";
import { createLogChecker, epochOf } from "@zk-backyp/zookeeper-files";
import { type ListedFile, listDataFiles } from "../data-files.ts";
import { type MemberFolder, unavailable } from "./member-folders.ts";

/**
 * How far at least above every epoch that is known. Other members, and clients of theirs, may have seen later ones: each
 * election that this member was not there for makes one. More than a hundred of them since its own last one, and since
 * the newest backup, is no ensemble whose data is worth much.
 */
const MARGIN = 100n;

/**
 * Restored epochs are multiples of this. Members restore by themselves and know different epochs, and one that comes late
 * with a higher one than the others began with is not let in before their next election; so all of them have to arrive at
 * the same. No ensemble has a million elections between two restores, and two thousand restores fit.
 */
const EPOCH_STEP = 1_000_000n;

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

/**
 * The epoch that a member is to begin with: above all of its own and of the store's, and the same that other members
 * come to.
 *
 * @param store the highest that the backup and the newest backup know
 */
export function raisedEpoch({ epoch: own, restored, isUntouched }: MemberHistory, store: bigint): bigint {
  const known = own > store ? own : store;
  const begun = (known / EPOCH_STEP) * EPOCH_STEP;
  // Above what the store knows: members were restored, and since then no backup was made.
  const isOfThisRestore =
    begun > store &&
    // Not this one: it was running and has joined them. Once more would lock it out, until it wins over them.
    ((restored ?? 0n) < begun ||
      // This one too, but it was not started since: the restore is done once more.
      (restored === begun && isUntouched));
  return isOfThisRestore ? begun : ((known + MARGIN + EPOCH_STEP - 1n) / EPOCH_STEP) * EPOCH_STEP;
}

/** @throws BackypError `ERR_TARGET_UNAVAILABLE` */
export function requireEpoch(epoch: bigint, { directory }: MemberFolder): void {
  if (epoch <= HIGHEST) return;
  throw unavailable(
    directory,
    `an epoch there, or in the backup, is so high (${epoch - EPOCH_STEP} or more) that none fits above it: move version-2 away by hand`,
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
    isUntouched: restored !== null && newest === (restored << 32n) + 1n,
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
