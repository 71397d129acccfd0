import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { startEnsemble, startTcpProxy, type TcpProxy, type ZooKeeperServer } from "@zk-backyp/testbed";
import { type RunningDaemon, startDaemonProcess } from "./running-daemon.ts";

/** As short as the members grant: 2 of their ticks are 2 s. */
export const SESSION_TIMEOUT_MS = 4_000;

/** A member of an ensemble and the daemon beside it. */
export interface Place {
  readonly member: ZooKeeperServer;
  /** The daemon that was started last. */
  readonly daemon: RunningDaemon;
  /** All that were started here. */
  readonly daemons: readonly RunningDaemon[];
  start(): void;
  /** Cuts this daemon off from all members. */
  cut(how: Parameters<TcpProxy["cut"]>[0]): void;
  heal(): void;
  /** Whether it said last that it is elected. */
  isElected(): boolean;
}

/** Three members, and a daemon beside each, with one series that they elect somebody for. */
export interface ThreeDaemons {
  readonly places: readonly Place[];
  /** Where the backups are. */
  readonly sink: string;
  readonly prefix: string;
  readonly config: (index: number) => string;
  close(): Promise<void>;
}

/** Starts them; `sink` is the daemons' sink in place of a directory. */
export async function startThreeDaemons(
  folder: string,
  { cron, sink }: { readonly cron: string; readonly sink?: object },
): Promise<ThreeDaemons> {
  const members = await startEnsemble({ directory: join(folder, "ensemble"), size: 3 });
  const backups = join(folder, "backups");
  await mkdir(backups);
  const proxies: TcpProxy[] = [];
  const places: (Place & { daemons: RunningDaemon[] })[] = [];
  const config = (index: number): string => join(folder, `daemon-${index}.json`);
  for (const [index, member] of members.entries()) {
    const ways = await Promise.all(members.map(({ clientPort }) => startTcpProxy(clientPort)));
    proxies.push(...ways);
    const to = ways.map(({ port }) => `127.0.0.1:${port}`);
    const zk = {
      source: {
        use: "zookeeper",
        dataDir: member.dataDir,
        server: to[index],
        election: { members: to, sessionTimeoutMs: SESSION_TIMEOUT_MS },
      },
      sink: sink ?? { use: "fs", path: backups },
      runOn: "elected",
      schedule: { cron },
    };
    await writeFile(config(index), JSON.stringify({ http: false, series: { zk } }));
    const daemons: RunningDaemon[] = [];
    const start = (): void => void daemons.push(startDaemonProcess(config(index)));
    start();
    places.push({
      member,
      daemons,
      start,
      get daemon() {
        return daemons.at(-1) as RunningDaemon;
      },
      cut(how) {
        for (const way of ways) way.cut(how);
      },
      heal() {
        for (const way of ways) way.heal();
      },
      isElected() {
        const said = daemons
          .at(-1)
          ?.lines()
          .findLast(({ event }) => event === "election");
        return said?.state === "elected";
      },
    });
  }
  return {
    places,
    sink: backups,
    prefix: "zk",
    config,
    async close() {
      await Promise.all(places.flatMap(({ daemons }) => daemons.map((daemon) => daemon.stop())));
      await Promise.all(proxies.map((proxy) => proxy.close()));
      await Promise.all(members.map((member) => member.stop()));
    },
  };
}
