import { spawn } from "node:child_process";
import { chmod, mkdir, readFile, writeFile } from "node:fs/promises";
import { connect } from "node:net";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { type Monit, type MonitService, startMonit, type ZooKeeperServer } from "@zk-backyp/testbed";
import type { NodeControl } from "../src/node-control/node-control.ts";
import { type NodeControlOptions, openNodeControl } from "../src/node-control/open-node-control.ts";

/** A real server that monit starts and stops. */
export interface MonitMember {
  readonly server: ZooKeeperServer;
  readonly service: string;
  readonly control: NodeControlOptions;
  /** The same, opened. */
  readonly opened: NodeControl;
  /** Of its process, alive or not; null before there was one. */
  pid(): Promise<number | null>;
  /** What it says it is; null if it does not answer with a role. */
  role(): Promise<string | null>;
}

export interface MonitMembers {
  readonly monit: Monit;
  readonly members: readonly MonitMember[];
  /** Resolves when all of them serve, and monit has seen that they run. */
  untilServing(): Promise<void>;
  /** Ends all: monit first, which would start the rest again. */
  end(): Promise<void>;
}

// Ends when its process is gone, as ZooKeeper's own scripts do. The mark says that the tests are over.
const PROGRAM = `#!/bin/sh
cd "$(dirname "$0")" || exit 1
lives() { [ -s pid ] && kill -0 "$(cat pid)" 2>/dev/null; }
case $1 in
start)
  if [ -e ../ended ] || lives; then exit 0; fi
  setsid ./server.sh </dev/null >>server.out 2>&1 &
  echo $! >pid.new && mv pid.new pid ;;
stop)
  lives || exit 0
  kill -TERM "$(cat pid)"
  while lives; do sleep 0.02; done ;;
esac
`;

/**
 * Hands servers that have run, and are stopped, over to one monit, which starts them. Nothing of it outlives this
 * process.
 */
export async function startUnderMonit(folder: string, servers: readonly ZooKeeperServer[]): Promise<MonitMembers> {
  await mkdir(folder, { recursive: true });
  const places = servers.map((_, index) => join(folder, `server-${index + 1}`));
  const services: MonitService[] = [];
  for (const [index, { command }] of servers.entries()) {
    const place = places[index] ?? "";
    await mkdir(place);
    const program = join(place, "node.sh");
    await writeFile(program, PROGRAM);
    await writeFile(join(place, "server.sh"), `#!/bin/sh\nexec ${command.map((word) => `'${word}'`).join(" ")}\n`);
    for (const name of ["node.sh", "server.sh"]) await chmod(join(place, name), 0o755);
    services.push({
      name: `zookeeper-${index + 1}`,
      pidFile: join(place, "pid"),
      start: [program, "start"],
      stop: [program, "stop"],
    });
  }
  // Its stdin ends with this process, however that ends.
  const watchdog = spawn(
    "/bin/sh",
    ["-c", `read -r _; : >ended; for pid in */pid; do kill -KILL "$(cat "$pid")"; done`],
    {
      cwd: folder,
      stdio: ["pipe", "ignore", "ignore"],
      detached: true,
    },
  );
  watchdog.unref();

  const monit = await startMonit({ directory: join(folder, "monit"), services });
  const members = servers.map((server, index): MonitMember => {
    const service = services[index]?.name ?? "";
    const control: NodeControlOptions = { use: "monit", service, command: monit.command };
    return {
      server,
      service,
      control,
      opened: openNodeControl(control, folder),
      pid: () => readFile(join(places[index] ?? "", "pid"), "utf8").then(Number, () => null),
      role: async () => /^Mode: (\w+)/m.exec(await server.fourLetterWord("srvr", 500).catch(() => ""))?.[1] ?? null,
    };
  });

  const all: MonitMembers = {
    monit,
    members,
    async untilServing() {
      const signal = AbortSignal.timeout(40_000);
      for (const { role, opened, service } of members) {
        while ((await role()) === null || (await opened.status({ signal })).state !== "running") {
          if (signal.aborted) throw new Error(`${service} does not serve`);
          await sleep(25);
        }
      }
    },
    async end() {
      await writeFile(join(folder, "ended"), "");
      await monit.kill();
      const pids = await Promise.all(members.map(({ pid }) => pid()));
      for (const pid of pids) {
        while (pid !== null && isAlive(pid)) {
          process.kill(pid, "SIGKILL");
          await sleep(20);
        }
      }
      watchdog.kill("SIGKILL");
    },
  };
  return all;
}

/** Which members were seen down, one line for each look at all of them. */
export interface Watch {
  /** How many were down at the same time, at the worst. */
  readonly worst: number;
  readonly looks: number;
  /** Whether this one was ever seen down. */
  wasDown(member: MonitMember): boolean;
  stop(): Promise<void>;
}

/** Looks every 10 ms who has no process, or no open port. */
export function watchMembers(members: readonly MonitMember[]): Watch {
  let worst = 0;
  let looks = 0;
  const seenDown = new Set<MonitMember>();
  let isOver = false;
  const watching = (async () => {
    while (!isOver) {
      const down = await Promise.all(members.map(isDown));
      worst = Math.max(worst, down.filter(Boolean).length);
      for (const [index, member] of members.entries()) if (down[index] === true) seenDown.add(member);
      looks += 1;
      await sleep(10);
    }
  })();
  return {
    get worst() {
      return worst;
    },
    get looks() {
      return looks;
    },
    wasDown: (member) => seenDown.has(member),
    async stop() {
      isOver = true;
      await watching;
    },
  };
}

async function isDown(member: MonitMember): Promise<boolean> {
  const pid = await member.pid();
  if (pid === null || !isAlive(pid)) return true;
  return new Promise((resolve) => {
    const socket = connect(member.server.clientPort, "127.0.0.1");
    const settle = (down: boolean): void => {
      socket.destroy();
      resolve(down);
    };
    socket.once("connect", () => settle(false));
    socket.once("error", () => settle(true));
  });
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}
