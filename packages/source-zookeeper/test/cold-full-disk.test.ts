import { execFile, spawnSync } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { afterEach, beforeEach, describe, expect, it } from "vitest";

/** Whether this user may mount. It says so where not. */
function mayMount(): boolean {
  const tried = spawnSync("unshare", ["--mount", "sh", "-c", "mount -t tmpfs none /mnt"], { encoding: "utf8" });
  if (tried.status === 0) return true;
  console.warn(`SKIPPED TESTS: mounts need root and unshare: ${tried.stderr ?? tried.error}`);
  return false;
}

describe.skipIf(!mayMount())("with a folder for the journal", () => {
  let stateDir: string;
  beforeEach(async () => {
    stateDir = await mkdtemp(join(tmpdir(), "zk-backyp-full-disk-"));
  });
  afterEach(() => rm(stateDir, { recursive: true }));

  /** In mounts of its own, which end with it. `$1` in `prepare` is the folder. */
  async function runAfter(prepare: string): Promise<Record<string, unknown>> {
    const script = `set -e; ${prepare}; exec "$2" "$3" "$1"`;
    const program = fileURLToPath(new URL("made-node-process.ts", import.meta.url));
    const args = ["--mount", "sh", "-c", script, "sh", stateDir, process.execPath, program];
    return JSON.parse((await promisify(execFile)("unshare", args)).stdout);
  }
  const untouched = { isBackedUp: false, isSameProcess: true, stops: 0, starts: 0, left: [] };

  it.each<[string, string, RegExp]>([
    [
      "on a full disk",
      'mount -t tmpfs -o size=4k none "$1" && head -c 4096 /dev/zero >"$1/full"',
      /no space left; free some/,
    ],
    ["on a disk without inodes", 'mount -t tmpfs -o nr_inodes=1 none "$1"', /no space left; free some/],
    ["that is read-only", 'mount -t tmpfs -o ro none "$1"', /read-only.*make its folder writable/],
  ])("%s nothing is stopped", async (_, prepare, message) => {
    const outcome = await runAfter(prepare);
    expect(outcome).toMatchObject({
      ...untouched,
      code: "ERR_STOP_REFUSED",
      message: expect.stringMatching(/cannot write the journal .*, or name another stateDir$/),
    });
    expect(outcome.message).toMatch(message);
  });

  it("that has room for it, all is well", async () => {
    expect(await runAfter('mount -t tmpfs -o size=64k none "$1"')).toMatchObject({
      code: null,
      isBackedUp: true,
      isSameProcess: false,
      stops: 1,
      left: [],
    });
  });
});
