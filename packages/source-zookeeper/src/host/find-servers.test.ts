import { mkdir, mkdtemp, realpath, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { type FoundServer, findServers } from "./find-servers.ts";
import { zooKeeperServices } from "./supervisor.ts";

const QUORUM_PEER = "org.apache.zookeeper.server.quorum.QuorumPeerMain";

let folder: string;
let proc: string;
beforeEach(async () => {
  folder = await realpath(await mkdtemp(join(tmpdir(), "zk-backyp-host-")));
  proc = join(folder, "proc");
  await mkdir(join(proc, "sys"), { recursive: true });
});
afterEach(() => rm(folder, { recursive: true }));

async function addProcess(pid: number, args: readonly string[], cgroup = "0::/\n"): Promise<void> {
  const own = join(proc, String(pid));
  await mkdir(own);
  await writeFile(join(own, "cmdline"), `${args.join("\0")}\0`);
  await writeFile(join(own, "cgroup"), cgroup);
  await symlink(folder, join(own, "cwd"));
}

async function addFile(name: string, lines: readonly string[]): Promise<string> {
  const path = join(folder, name);
  await writeFile(path, lines.join("\n"));
  return path;
}

const find = (places: readonly string[] = []): Promise<FoundServer[]> =>
  findServers({ signal: AbortSignal.timeout(10_000), proc, places });

describe("servers on a host", () => {
  it("are found by their processes, with unit, configuration and members", async () => {
    const zooCfg = await addFile("zoo.cfg", [
      "dataDir=/zk/data",
      "dataLogDir=/zk/log",
      "clientPort=2182",
      "server.1=a:2888:3888",
      "server.2=b:2888:3888",
      "server.3=c:2888:3888",
    ]);
    await addProcess(1, ["/sbin/init"]);
    await addProcess(42, ["java", "-cp", "x.jar", QUORUM_PEER, zooCfg], "0::/system.slice/zookeeper.service\n");
    expect(await find([zooCfg])).toEqual([
      {
        pid: 42,
        uid: process.getuid?.(),
        zooCfg,
        dataDir: "/zk/data",
        dataLogDir: "/zk/log",
        clientPort: 2182,
        members: 3,
        supervisor: { use: "systemd", unit: "zookeeper.service" },
        problem: null,
      },
    ]);
  });

  it.each([
    ["0::/system.slice/zk.service\n", { use: "systemd", unit: "zk.service" }],
    [
      "0::/system.slice/system-zookeeper.slice/zookeeper@1.service/x\n",
      { use: "systemd", unit: "zookeeper@1.service" },
    ],
    ["12:cpu:/x\n1:name=systemd:/system.slice/zk.service\n0::/\n", { use: "systemd", unit: "zk.service" }],
    ["1:name=systemd:/system.slice/zk.service\n", { use: "systemd", unit: "zk.service" }],
    ["0::/user.slice/user-0.slice/user@0.service/app.slice/zk.service\n", null],
    ["0::/user.slice/user-0.slice/session-1.scope\n", null],
    ["0::/\n", null],
    ["", null],
  ])("have the supervisor that the control group %j names", async (cgroup, supervisor) => {
    await addProcess(7, ["java", QUORUM_PEER, "2181", "/zk"], cgroup);
    // A second one, so that monit is not asked.
    await addProcess(8, ["java", QUORUM_PEER, "2182", "/zk2"], cgroup);
    expect((await find())[0]?.supervisor).toEqual(supervisor);
  });

  it("are found where they were started with a relative path, or with port and folder", async () => {
    const zooCfg = await addFile("zookeeper.properties", ["dataDir=/kafka/zk"]);
    await addProcess(1, ["java", QUORUM_PEER, "zookeeper.properties"]);
    await addProcess(2, ["java", "org.apache.zookeeper.server.ZooKeeperServerMain", "2199", "data", "2000"]);
    expect(await find()).toMatchObject([
      { pid: 1, zooCfg, dataDir: "/kafka/zk", clientPort: null, members: 0 },
      { pid: 2, zooCfg: null, dataDir: join(folder, "data"), clientPort: 2199 },
    ]);
  });

  it("are found with a problem where the configuration cannot be read", async () => {
    const zooCfg = await addFile("broken.cfg", ["dataDir=/zk", "server.1=?"]);
    await addProcess(1, ["java", QUORUM_PEER, join(folder, "gone.cfg")]);
    await addProcess(2, ["java", QUORUM_PEER, zooCfg]);
    const problems = (await find()).map(({ problem }) => problem);
    expect(problems).toEqual([
      expect.stringMatching(/gone\.cfg: there is no such file/),
      expect.stringMatching(/server\.1/),
    ]);
  });

  it("are found in the usual places only if one was ever started there", async () => {
    const used = join(folder, "used");
    await mkdir(join(used, "version-2"), { recursive: true });
    const places = [
      join(folder, "none.cfg"),
      await addFile("unused.cfg", [`dataDir=${join(folder, "unused")}`]),
      await addFile("used.cfg", [`dataDir=${used}`]),
      await addFile("empty.cfg", [""]),
    ];
    await symlink(join(folder, "used.cfg"), join(folder, "same.cfg"));
    const found = await find([...places, join(folder, "same.cfg")]);
    expect(found).toMatchObject([{ pid: null, zooCfg: join(folder, "used.cfg"), dataDir: used }]);
    expect(found).toHaveLength(1);
  });

  it("are none where there are none", async () => {
    await addProcess(1, ["java", "-jar", "other.jar", "QuorumPeerMain"]);
    await addProcess(2, []);
    expect(await find()).toEqual([]);
  });
});

it.each([
  [
    "monit 5.2",
    "The Monit daemon 5.2.5 uptime: 1m\n\nProcess 'zookeeper'   running\nProcess 'agent'  running\nSystem 'x'  running\n",
    ["zookeeper"],
  ],
  [
    "monit 5.33",
    "Monit 5.33.0 uptime: 0m\n┌──────┬────┬───────┐\n│ Service Name │ Status │ Type │\n│ zk-node      │ OK     │ Process │\n│ host │ OK │ System │\n└─┘\n",
    ["zk-node"],
  ],
  [
    "monit 5.33 with -B",
    "Monit 5.33.0 uptime: 0m\n Service Name      Status    Type\n zookeeper         OK        Process\n zookeeper-data    OK        Directory\n",
    ["zookeeper"],
  ],
  ["nothing", "", []],
])("the services of ZooKeeper are found in the summary of %s", (_release, summary, names) => {
  expect(zooKeeperServices(summary)).toEqual(names);
});
