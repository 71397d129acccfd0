import { mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { freePorts, spawnTethered, type TetheredProcess, zooKeeperClassPath } from "@zk-backyp/testbed";
import type { AskOptions } from "../src/ensemble/ask-options.ts";
import type { ServerAddress } from "../src/ensemble/server-address.ts";
import { askStatus } from "../src/server-status.ts";

/**
 * A member whose configuration is all the test's own. The testbed's servers have to answer `conf` on a plain client port
 * before they count as started; these need not.
 */
export interface Member {
  readonly id: number;
  readonly clientPort: number;
  readonly securePort: number;
  readonly adminPort: number;
  readonly dataDir: string;
  readonly configFile: string;
  kill(): Promise<void>;
  log(): Promise<string>;
}

export interface MembersOptions {
  /** The members' folders are `folder/1`, `folder/2`, ... */
  readonly folder: string;
  /** The role of each. */
  readonly roles: readonly ("participant" | "observer")[];
  /** Client ports in the `server.N` lines, as in a dynamic configuration, instead of in `clientPort`. */
  readonly clientPortInLines?: boolean;
  /** Added to each `zoo.cfg`; an empty value takes a setting away. */
  readonly config?: (member: Omit<Member, "kill" | "log">) => Readonly<Record<string, string>>;
  readonly javaOptions?: readonly string[];
  readonly classPath?: string;
  /** Where it is seen that a member serves. */
  readonly ask: (member: Member) => ServerAddress;
  readonly tls?: AskOptions["tls"];
  /** Ids of members that are not started. */
  readonly down?: readonly number[];
}

/** Starts the members and resolves when each of them serves. They die with the test run. */
export async function startMembers(options: MembersOptions): Promise<Member[]> {
  for (let attempt = 1; ; attempt += 1) {
    const members = await launch(options);
    try {
      const up = members.filter(({ id }) => options.down?.includes(id) !== true);
      await Promise.all(up.map((member) => untilServing(member, options)));
      return members;
    } catch (error) {
      const logs = await Promise.all(members.map((member) => member.log()));
      await Promise.all(members.map((member) => member.kill()));
      const portTaken = logs.some((log) => /Address already in use|BindException/.test(log));
      if (!portTaken || attempt === 3) throw new Error(`${(error as Error).message}\n${logs.join("\n").slice(-4000)}`);
    }
  }
}

async function untilServing(member: Member, { ask, tls }: MembersOptions): Promise<void> {
  const deadline = Date.now() + 40_000;
  while (true) {
    try {
      await askStatus(ask(member), { tls, timeoutMs: 1_000 }, new AbortController().signal);
      return;
    } catch (error) {
      if (Date.now() > deadline || /BindException|Exiting abnormally/.test(await member.log())) throw error;
      await sleep(100);
    }
  }
}

async function launch(options: MembersOptions): Promise<Member[]> {
  const { folder, roles, config, javaOptions = [], classPath = zooKeeperClassPath() } = options;
  const ports = await freePorts(roles.length * 5);
  const of = (index: number): number[] => ports.slice(index * 5, index * 5 + 5);
  const lines = roles.map((role, index) => {
    const [quorum, election, client] = of(index);
    const clientPart = options.clientPortInLines === true ? `;127.0.0.1:${client}` : "";
    return `server.${index + 1}=127.0.0.1:${quorum}:${election}:${role}${clientPart}\n`;
  });
  const java = process.env.JAVA_HOME ? join(process.env.JAVA_HOME, "bin", "java") : "java";
  return Promise.all(
    roles.map(async (role, index): Promise<Member> => {
      const id = index + 1;
      const directory = join(folder, String(id));
      const [, , clientPort = 0, securePort = 0, adminPort = 0] = of(index);
      const dataDir = join(directory, "data");
      const configFile = join(directory, "zoo.cfg");
      const logFile = join(directory, "server.log");
      const known = { id, clientPort, securePort, adminPort, dataDir, configFile };
      const settings: Record<string, string> = {
        tickTime: "500",
        initLimit: "40",
        syncLimit: "20",
        dataDir,
        ...(options.clientPortInLines === true
          ? {}
          : { clientPort: String(clientPort), clientPortAddress: "127.0.0.1" }),
        ...(role === "observer" ? { peerType: "observer" } : {}),
        "admin.serverAddress": "127.0.0.1",
        "admin.serverPort": String(adminPort),
        ...config?.(known),
      };
      const kept = Object.entries(settings).filter(([, value]) => value !== "");
      await mkdir(dataDir, { recursive: true });
      await writeFile(join(dataDir, "myid"), `${id}\n`);
      await writeFile(logFile, "");
      await writeFile(configFile, kept.map(([key, value]) => `${key}=${value}\n`).join("") + lines.join(""));
      const args = [
        "-Xmx128m",
        "-XX:+UseSerialGC",
        "-XX:TieredStopAtLevel=1",
        "-Djava.net.preferIPv4Stack=true",
      ].concat(javaOptions, ["-cp", classPath, "org.apache.zookeeper.server.quorum.QuorumPeerMain", configFile]);
      let running: TetheredProcess | undefined;
      if (options.down?.includes(id) !== true) running = spawnTethered(java, args, { logFile, cwd: directory });
      return {
        ...known,
        kill: async () => {
          await running?.end("SIGKILL");
        },
        log: () => readFile(logFile, "utf8"),
      };
    }),
  );
}
