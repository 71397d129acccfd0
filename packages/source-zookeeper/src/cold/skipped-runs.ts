import { randomUUID } from "node:crypto";
import { mkdir, readFile, rename, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { BackypError, systemErrorCode } from "@zk-backyp/core";

/** How many runs in a row were skipped, kept from run to run. */
export interface SkippedRuns {
  /**
   * Notes one more.
   *
   * @throws BackypError `ERR_STOP_REFUSED` when there were `maxSkippedRuns` before it, or they cannot be counted
   */
  add(reason: string): Promise<void>;
  /**
   * There was a run that was not skipped.
   *
   * @throws BackypError `ERR_STOP_REFUSED` when that cannot be noted
   */
  reset(): Promise<void>;
}

interface Kept {
  readonly count: number;
  /** Of the first of them, ISO 8601. */
  readonly since: string;
}

export function skippedRuns(stateDir: string, maxSkippedRuns: number): SkippedRuns {
  const file = join(stateDir, "skipped-runs.json");
  return {
    async add(reason) {
      const { count, since } = await counted(file, async () => {
        const before = await read(file);
        await mkdir(stateDir, { recursive: true, mode: 0o700 });
        // Whole or not at all, and never through a link that somebody has put there.
        const written = `${file}.${randomUUID()}.tmp`;
        const content = `${JSON.stringify({ ...before, count: before.count + 1 })}\n`;
        await writeFile(written, content, { mode: 0o600, flag: "wx" });
        await rename(written, file);
        return before;
      });
      if (count < maxSkippedRuns) return;
      throw new BackypError(
        "ERR_STOP_REFUSED",
        `${reason}. So it was in ${count + 1} runs in a row, since ${since}: there are no backups of this node. ` +
          `Set ifLeader to "proceed", hand over to another member, or back this one up with mode "hot"`,
        { details: { skippedRuns: count + 1, since } },
      );
    },
    reset: () => counted(file, () => rm(file, { force: true })),
  };
}

/** Says what it means that the file cannot be read or written: a run that is always skipped must not pass unnoticed. */
async function counted<Result>(file: string, work: () => Promise<Result>): Promise<Result> {
  try {
    return await work();
  } catch (cause) {
    throw new BackypError(
      "ERR_STOP_REFUSED",
      `cannot count the skipped runs in ${file}: ${(cause as Error).message}; make its folder writable, or name another stateDir`,
      { cause, details: { path: file } },
    );
  }
}

async function read(file: string): Promise<Kept> {
  const none = { count: 0, since: new Date().toISOString() };
  try {
    const { count, since } = (JSON.parse(await readFile(file, "utf8")) ?? {}) as Partial<Kept>;
    // Not ours: counted anew.
    return Number.isSafeInteger(count) && Number(count) > 0 && typeof since === "string"
      ? { count: Number(count), since }
      : none;
  } catch (error) {
    if (error instanceof SyntaxError || systemErrorCode(error) === "ENOENT") return none;
    throw error;
  }
}
