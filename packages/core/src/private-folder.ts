import { spawn } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import type { Writable } from "node:stream";
import { BackypError } from "./errors.ts";

// Blocks on its stdin, whose other end our process alone holds: it closes when our process is gone in any way, kill -9
// included. Something that is killed at the same moment may still be writing into the folder, hence the repetition.
const GUARD = 'read -r _; for n in 1 2 3 4 5 6 7 8 9 10; do rm -rf -- "$0" && exit; sleep 1; done';

/** A folder for one purpose, which does not outlive this process. */
export interface PrivateFolder extends AsyncDisposable {
  readonly path: string;
}

/**
 * Makes an empty folder, below the system's folder for temporary files, that only this user can enter. It is removed
 * when it is disposed of, and by a small shell if this process ends before that, however it ends.
 *
 * @throws BackypError `ERR_TARGET_UNAVAILABLE`
 */
export async function makePrivateFolder(): Promise<PrivateFolder> {
  // TMPDIR may be relative, which is another folder to a process that is started elsewhere.
  const parent = resolve(tmpdir());
  const path = await mkdtemp(join(parent, "zk-backyp-")).catch((cause: Error) => {
    throw new BackypError(
      "ERR_TARGET_UNAVAILABLE",
      `cannot make a temporary folder in ${parent}: ${cause.message}; name another one in TMPDIR`,
      { cause, details: { path: parent } },
    );
  });
  const guard = spawn("/bin/sh", ["-c", GUARD, path], { stdio: ["pipe", "ignore", "ignore"], detached: true });
  // Without a shell there is no guard; then it is on us alone.
  guard.on("error", () => {});
  guard.unref();
  // Not there where the process has no file descriptor left.
  const stdin = guard.stdin as (Writable & { unref?(): void }) | undefined;
  stdin?.on("error", () => {});
  stdin?.unref?.();
  return {
    path,
    async [Symbol.asyncDispose]() {
      await rm(path, { recursive: true, force: true, maxRetries: 10 });
      guard.kill("SIGKILL");
    },
  };
}
