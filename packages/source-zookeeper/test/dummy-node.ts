import { spawnSync } from "node:child_process";
import { chmod, readdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";

/** A "node" that one little script controls: a `sleep`, with its pid in a file. */
export interface DummyNode {
  /** `node.sh`, to be called with `start`, `stop` or `status`. */
  readonly script: string;
  run(action: "start" | "stop"): void;
  /** Null: it does not run. */
  pid(): Promise<number | null>;
  /** How often a start was asked for since it was made. */
  starts(): Promise<number>;
  /** So many starts from now on fail with this exit code, or do nothing while they say that all is well (0). */
  spoil(times: number, exitCode: number): Promise<void>;
}

// `stop` waits for as long as the file `slow` says. A start while the node is up does nothing, as with any service.
const SCRIPT = `#!/bin/sh
cd "$(dirname "$0")" || exit 1
running() { [ -s pid ] && kill -0 "$(cat pid)" 2>/dev/null; }
case $1 in
  start)
    echo start >>starts
    if [ "$(cat spoilt 2>/dev/null || echo 0)" -gt 0 ]; then
      echo $(($(cat spoilt) - 1)) >spoilt
      echo "spoilt start" >&2
      exit "$(cat code)"
    fi
    running && exit 0
    rm -f asked
    sleep 300 >/dev/null 2>&1 &
    echo $! >pid
    ;;
  stop)
    touch asked
    sleep "$(cat slow 2>/dev/null || echo 0)"
    running && kill "$(cat pid)"
    while running; do sleep 0.05; done
    ;;
  status)
    running && exit 0
    [ -e asked ] && exit 3
    exit 1
    ;;
esac
`;

/** Makes it in the folder, and starts it. */
export async function makeDummyNode(folder: string): Promise<DummyNode> {
  const script = join(folder, "node.sh");
  await writeFile(script, SCRIPT);
  await chmod(script, 0o755);
  const read = (name: string): Promise<string> => readFile(join(folder, name), "utf8").catch(() => "");
  const run = (action: string): void => {
    spawnSync(script, [action], { stdio: "ignore" });
  };
  run("start");
  return {
    script,
    run,
    async pid() {
      const pid = Number(await read("pid"));
      return pid > 0 && (await isRunning(pid)) ? pid : null;
    },
    async starts() {
      return (await read("starts")).split("\n").length - 2;
    },
    async spoil(times, exitCode) {
      await writeFile(join(folder, "code"), String(exitCode));
      await writeFile(join(folder, "spoilt"), String(times));
    },
  };
}

async function isRunning(pid: number): Promise<boolean> {
  const stat = await readFile(`/proc/${pid}/stat`, "latin1").catch(() => "");
  return stat !== "" && !/\) [ZX] /.test(stat);
}

/** The living processes of a session: a guard has one of its own. */
export async function processesOfSession(session: number): Promise<{ pid: number; name: string }[]> {
  const found: { pid: number; name: string }[] = [];
  for (const entry of await readdir("/proc")) {
    if (!/^\d+$/.test(entry)) continue;
    const stat = await readFile(`/proc/${entry}/stat`, "latin1").catch(() => "");
    const [state, , , theirs] = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    if (Number(theirs) !== session || state === "Z") continue;
    found.push({ pid: Number(entry), name: stat.slice(stat.indexOf("(") + 1, stat.lastIndexOf(")")) });
  }
  return found;
}
