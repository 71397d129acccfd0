import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { chmod, mkdir, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { startZooKeeper, type ZooKeeperServer } from "@zk-backyp/testbed";

/** A server that is started and stopped by a script, as `control: { use: command }` has it. */
export interface ControlledServer {
  readonly server: ZooKeeperServer;
  /** For a configuration. */
  readonly control: Readonly<Record<string, unknown>>;
  /** Null while there is none. */
  pid(): Promise<number | null>;
  /** Makes the script behave otherwise while this file is there: `slow-stop`, `no-start`. */
  set(mark: string): Promise<void>;
  unset(mark: string): Promise<void>;
  /** Resolves once the script was asked to stop it, and is at it. */
  untilStopping(): Promise<void>;
  /** Resolves when it answers a client. */
  untilServing(): Promise<void>;
  /** Stops it, or starts it, as an operator would. */
  operate(action: "start" | "stop"): Promise<void>;
  /** Ends it for good. */
  end(): Promise<void>;
}

const SCRIPT = `#!/bin/sh
cd "$(dirname "$0")" || exit 1
lives() { [ -e pid ] && grep -qs "^State:.[^ZX]" "/proc/$(cat pid)/status"; }
case $1 in
start)
  if [ -e no-start ]; then echo "it may not start" >&2; exit 9; fi
  lives && exit 0
  setsid "./server.sh" </dev/null >>server.out 2>&1 &
  echo $! >pid.new && mv pid.new pid ;;
stop)
  lives || exit 0
  : >stopping
  if [ -e slow-stop ]; then sleep 3; fi
  kill -TERM "$(cat pid)"
  while lives; do sleep 0.02; done
  rm -f pid stopping ;;
status) lives || exit 3 ;;
esac
`;

/** Starts a server, then hands it over to the script. It does not outlive this process. */
export async function startControlledServer(directory: string): Promise<ControlledServer> {
  const server = await startZooKeeper({ directory });
  await server.stop();
  const place = join(directory, "control");
  await mkdir(place);
  const script = join(place, "control.sh");
  await writeFile(script, SCRIPT);
  const quoted = server.command.map((argument) => `'${argument}'`).join(" ");
  await writeFile(join(place, "server.sh"), `#!/bin/sh\nexec ${quoted}\n`);
  await chmod(script, 0o755);
  await chmod(join(place, "server.sh"), 0o755);

  const operate = async (action: "start" | "stop"): Promise<void> => {
    const child = spawn(script, [action], { stdio: "ignore" });
    await new Promise((resolve) => child.once("close", resolve));
  };
  // Its stdin ends with this process, however that ends.
  const watchdog = spawn("/bin/sh", ["-c", `read -r _; touch no-start; kill -KILL "$(cat pid)"`], {
    cwd: place,
    stdio: ["pipe", "ignore", "ignore"],
    detached: true,
  });
  watchdog.unref();

  const controlled: ControlledServer = {
    server,
    control: {
      use: "command",
      start: [script, "start"],
      stop: [script, "stop"],
      status: [script, "status"],
      pidFile: join(place, "pid"),
    },
    pid: () => readFile(join(place, "pid"), "utf8").then(Number, () => null),
    set: (mark) => writeFile(join(place, mark), ""),
    unset: (mark) => rm(join(place, mark), { force: true }),
    untilStopping: () => until(() => existsSync(join(place, "stopping")), "the server is not being stopped"),
    untilServing: () =>
      until(
        async () => (await server.fourLetterWord("srvr").catch(() => "")).includes("Mode: "),
        "the server does not serve",
      ),
    operate,
    async end() {
      await controlled.set("no-start");
      await controlled.unset("slow-stop");
      await operate("stop");
      watchdog.kill("SIGKILL");
    },
  };
  await operate("start");
  await controlled.untilServing();
  return controlled;
}

async function until(isSo: () => boolean | Promise<boolean>, otherwise: string): Promise<void> {
  for (let tries = 0; tries < 1_500; tries += 1) {
    if (await isSo()) return;
    await sleep(20);
  }
  throw new Error(otherwise);
}
