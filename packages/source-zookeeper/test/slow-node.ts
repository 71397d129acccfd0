import { mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { identityOf, isAlive } from "../src/stop-promise/process-identity.ts";

/** A process like a server, with programs that start and stop it. It takes a second to end when it is told to. */
export interface SlowNode {
  readonly pidFile: string;
  readonly start: readonly string[];
  readonly stop: readonly string[];
  /** Exit code 0 while it runs, 3 when it does not. */
  readonly status: readonly string[];
  livingPid(): Promise<number | null>;
  /** Ends it at once. */
  kill(): Promise<void>;
}

/**
 * Its programs are written to `directory`. Like ZooKeeper's own, `start` fails while the process is there.
 *
 * @param options.endsAfterSeconds how long it takes to end; 1 if not given
 */
export async function slowNode(
  directory: string,
  { endsAfterSeconds = 1 }: { readonly endsAfterSeconds?: number } = {},
): Promise<SlowNode> {
  await mkdir(directory, { recursive: true });
  const pidFile = join(directory, "node.pid");
  const script = async (name: string, text: string): Promise<readonly string[]> => {
    const file = join(directory, `${name}.sh`);
    await writeFile(file, text);
    return ["/bin/sh", file];
  };
  // Ends with the test run, also when that is killed.
  const [, node] = await script(
    "node",
    `trap 'sleep ${endsAfterSeconds}; exit 0' TERM
while kill -0 ${process.pid} 2>/dev/null; do sleep 0.05; done
`,
  );
  const lives = `[ -s '${pidFile}' ] && kill -0 "$(cat '${pidFile}')" 2>/dev/null`;
  return {
    pidFile,
    start: await script(
      "start",
      `if ${lives}; then echo "already running as process $(cat '${pidFile}')" >&2; exit 1; fi
/bin/sh '${node}' </dev/null >/dev/null 2>&1 &
echo $! >'${pidFile}'
`,
    ),
    stop: await script(
      "stop",
      `if ! ${lives}; then echo "no node to stop" >&2; exit 1; fi
kill "$(cat '${pidFile}')"
while ${lives}; do sleep 0.05; done
rm -f '${pidFile}'
`,
    ),
    status: await script("status", `if ${lives}; then exit 0; else exit 3; fi\n`),
    async livingPid() {
      const pid = Number(await readFile(pidFile, "utf8").catch(() => ""));
      return pid > 0 && (await isAlive(await identityOf(pid))) ? pid : null;
    },
    async kill() {
      const pid = Number(await readFile(pidFile, "utf8").catch(() => ""));
      if (pid <= 0) return;
      try {
        // Until it was reaped, too: before that `kill -0` finds it.
        while (process.kill(pid, "SIGKILL")) await sleep(20);
      } catch {
        // Gone.
      }
    },
  };
}
