import { spawn } from "node:child_process";
import { chmod, mkdir, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { connectZooKeeper, type Monit, startMonit, startZooKeeper, writeSampleData } from "@zk-backyp/testbed";
import { type NodeControlOptions, openNodeControl } from "../src/node-control/open-node-control.ts";
import { killWithChildren, type ListedProcess, listProcesses } from "./cold-kill-processes.ts";

/** A real server that a real monit starts and stops. */
export interface SupervisedNode {
  /** All that runs of it has a path below this in its command line. */
  readonly folder: string;
  readonly dataDir: string;
  readonly server: string;
  readonly monit: Monit;
  readonly control: NodeControlOptions;
  /** Is there while the program runs that stops it. */
  readonly stoppingFile: string;
  /** Whether the program that stops it takes a second longer. */
  setSlowStop(isSlow: boolean): Promise<void>;
  pid(): Promise<number>;
  /** Whether it answers a client with a role. */
  serves(): Promise<boolean>;
  /** Resolves when it serves, its supervisor says that it runs, and both are so a while later. */
  untilBack(withinMs: number): Promise<void>;
  /** What an operator does by `monit start` and `monit stop`; resolves when it is done. */
  operatorStarts(): Promise<void>;
  operatorStops(): Promise<void>;
  end(): Promise<void>;
}

const PROGRAM = `#!/bin/sh
cd "$(dirname "$0")" || exit 1
lives() { [ -s pid ] && kill -0 "$(cat pid)" 2>/dev/null; }
case $1 in
start)
  if [ -e ended ]; then exit 1; fi
  lives && exit 0
  rm -f stopping
  setsid ./server.sh </dev/null >>server.out 2>&1 &
  echo $! >pid.new && mv pid.new pid ;;
stop)
  lives || exit 0
  : >stopping
  if [ -e slow-stop ]; then sleep 1; fi
  kill -TERM "$(cat pid)"
  while lives; do sleep 0.02; done
  rm -f pid stopping ;;
esac
`;

/** Starts both. They do not outlive this process. */
export async function startSupervisedNode(folder: string): Promise<SupervisedNode> {
  const server = await startZooKeeper({ directory: join(folder, "server") });
  const client = await connectZooKeeper(server.connectString);
  await writeSampleData(client);
  await client.close();
  await server.stop();

  const place = join(folder, "programs");
  await mkdir(place);
  const program = join(place, "node.sh");
  await writeFile(program, PROGRAM);
  await writeFile(join(place, "server.sh"), `#!/bin/sh\nexec ${server.command.map((word) => `'${word}'`).join(" ")}\n`);
  for (const name of ["node.sh", "server.sh"]) await chmod(join(place, name), 0o755);
  // Its stdin ends with this process, however that ends.
  const watchdog = spawn("/bin/sh", ["-c", `read -r _; : >ended; kill -KILL "$(cat pid)"`], {
    cwd: place,
    stdio: ["pipe", "ignore", "ignore"],
    detached: true,
  });
  watchdog.unref();

  const pidFile = join(place, "pid");
  const service = "zookeeper";
  const monit = await startMonit({
    directory: join(folder, "monit"),
    services: [{ name: service, pidFile, start: [program, "start"], stop: [program, "stop"] }],
  });
  const control: NodeControlOptions = { use: "monit", service, command: monit.command };
  const eyes = openNodeControl(control, folder);

  const node: SupervisedNode = {
    folder,
    dataDir: server.dataDir,
    server: server.connectString,
    monit,
    control,
    stoppingFile: join(place, "stopping"),
    setSlowStop: (isSlow) =>
      isSlow ? writeFile(join(place, "slow-stop"), "") : rm(join(place, "slow-stop"), { force: true }),
    pid: async () => Number(await readFile(pidFile, "utf8")),
    serves: async () => /^Mode: /m.test(await server.fourLetterWord("srvr", 500).catch(() => "")),
    async untilBack(withinMs) {
      const deadline = performance.now() + withinMs;
      let seen = 0;
      let last = "";
      while (seen < 3) {
        const { state } = await eyes
          .status({ signal: AbortSignal.timeout(10_000) })
          .catch(() => ({ state: "unknown" }));
        const serves = await node.serves();
        seen = state === "running" && serves ? seen + 1 : 0;
        last = `monit says ${state}, it ${serves ? "serves" : "does not serve"}`;
        if (performance.now() > deadline) throw new Error(`the node is not back within ${withinMs} ms: ${last}`);
        await sleep(200);
      }
    },
    async operatorStarts() {
      await eyes.start({ signal: AbortSignal.timeout(30_000) });
      await node.untilBack(30_000);
    },
    async operatorStops() {
      const signal = AbortSignal.timeout(30_000);
      await eyes.stop({ signal, backInMs: 1 });
      while ((await eyes.status({ signal })).state !== "stopped" || (await node.serves())) await sleep(50);
    },
    async end() {
      await monit.kill();
      const isOurs = ({ commandLine }: ListedProcess): boolean => commandLine.includes(`${folder}/`);
      while (listProcesses().some(isOurs)) {
        killWithChildren(isOurs);
        await sleep(20);
      }
      watchdog.kill("SIGKILL");
    },
  };
  await node.untilBack(60_000);
  return node;
}
