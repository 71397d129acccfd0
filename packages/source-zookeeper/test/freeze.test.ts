import { execFile, spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { link, mkdir, mkdtemp, open, readdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import {
  connectZooKeeper,
  purge,
  requirePart,
  startEnsemble,
  startZooKeeper,
  writeSampleData,
  type ZooKeeperServer,
  zooKeeperMissing,
} from "@zk-backyp/testbed";
import { loadTree } from "@zk-backyp/zookeeper-files";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { type Freeze, type Frozen, openFreeze } from "../src/cold/freeze.ts";

let folder: string;
let freezes: Freeze[];
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "zk-backyp-freeze-"));
  freezes = [];
});
afterEach(async () => {
  for (const freeze of freezes) await freeze.drop();
  await rm(folder, { recursive: true });
});

async function freezeOf(
  server: Pick<ZooKeeperServer, "dataDir" | "snapshotDirectory" | "logDirectory">,
): Promise<Freeze> {
  const { dataDir, snapshotDirectory, logDirectory } = server;
  const location = { dataDir, snapshots: snapshotDirectory, logs: logDirectory, zooCfg: null, server: null };
  const freeze = await openFreeze(location, { run: `tested-${freezes.length}`, signal: new AbortController().signal });
  freezes.push(freeze);
  return freeze;
}

describe.skipIf(!requirePart(zooKeeperMissing()))("the frozen files of a real server", () => {
  let servers: ZooKeeperServer[];
  beforeEach(() => {
    servers = [];
  });
  afterEach(async () => {
    for (const server of servers) await server.kill();
  });

  const start = async (): Promise<ZooKeeperServer> => {
    const server = await startZooKeeper({ directory: folder });
    servers.push(server);
    return server;
  };
  const fill = async (server: ZooKeeperServer): Promise<void> => {
    const client = await connectZooKeeper(server.connectString);
    await writeSampleData(client);
    await client.close();
  };
  /** What the data files of a folder hold, by their names. */
  const contentOf = async (path: string | null): Promise<Record<string, string>> => {
    const names = (await readdir(path ?? "")).filter((name) => /^(snapshot|log)\./.test(name)).sort();
    const hash = async (name: string): Promise<[string, string]> => [
      name,
      createHash("sha256")
        .update(await readFile(join(path ?? "", name)))
        .digest("hex"),
    ];
    return Object.fromEntries(await Promise.all(names.map(hash)));
  };
  const nodesIn = async ({ snapshots, logs }: Frozen): Promise<number> => {
    const { tree } = await loadTree([...new Set([snapshots, logs])].filter((path) => path !== null));
    return tree.nodes;
  };

  it("stay what they were where an idle server writes its snapshot once more, which a hard link does not", async () => {
    const server = await start();
    await fill(server);
    await server.stop();
    await server.start();
    const name = (await readdir(server.snapshotDirectory)).sort().findLast((file) => file.startsWith("snapshot."));
    if (name === undefined) throw new Error("there is no snapshot");
    const path = join(server.snapshotDirectory, name);
    // What a server ignores, and does not write again: the mark that ends a snapshot, twice.
    const file = await open(path, "a");
    await file.write(Buffer.from([0, 0, 0, 1, 0x2f]));
    await file.close();
    await link(path, join(folder, "hard-link"));
    const before = await readFile(path);

    const freeze = await freezeOf(server);
    await freeze.warm();
    await server.stop();
    const frozen = await freeze.complete();
    const stopped = await contentOf(server.snapshotDirectory);
    await server.start();

    expect(frozen.copied).toEqual([{ file: name, bytes: before.byteLength, whileStopped: false }]);
    expect((await readFile(join(folder, "hard-link"))).byteLength).toBe(before.byteLength - 5);
    expect((await stat(join(folder, "hard-link"))).ino).toBe((await stat(path)).ino);
    expect(await contentOf(frozen.snapshots)).toEqual(stopped);
    expect(await freeze.dropTakenBack()).toEqual([]);
    expect(await nodesIn(frozen)).toBeGreaterThan(100);
  });

  it("are links of a busy one, and stay what they were while it goes on and purges", async () => {
    const server = await start();
    await fill(server);
    const freeze = await freezeOf(server);
    await freeze.warm();
    await server.stop();
    const frozen = await freeze.complete();
    const stopped = await contentOf(server.snapshotDirectory);
    expect(frozen.copied).toEqual([]);
    for (let round = 0; round < 4; round++) {
      await server.start();
      const client = await connectZooKeeper(server.connectString);
      await client.create(`/round-${round}`, Buffer.from("later"));
      await client.close();
      await server.stop();
    }
    await purge(server, 3);
    expect(await readdir(server.logDirectory)).not.toContain("log.1");
    expect(await contentOf(frozen.snapshots)).toEqual(stopped);
    expect(await freeze.dropTakenBack()).toEqual([]);
    expect(await nodesIn(frozen)).toBeGreaterThan(100);
  });

  it("are those that are there, also where a purge runs while they are linked", async () => {
    const server = await start();
    await fill(server);
    await server.stop();
    const template = await readFile(join(server.snapshotDirectory, "snapshot.0"));
    for (let zxid = 0x1000; zxid < 0x1400; zxid++) {
      await writeFile(join(server.snapshotDirectory, `snapshot.${zxid.toString(16)}`), template);
      await writeFile(join(server.snapshotDirectory, `log.${(zxid + 1).toString(16)}`), "");
    }
    const freeze = await freezeOf(server);
    let purged = false;
    const purging = purge(server, 3).finally(() => {
      purged = true;
    });
    let warmed = 0;
    while (!purged) {
      await freeze.warm();
      warmed++;
    }
    await purging;
    const frozen = await freeze.complete();
    expect(warmed).toBeGreaterThan(1);
    expect(frozen.files).toBeLessThan(20);
    expect(await contentOf(frozen.snapshots)).toEqual(await contentOf(server.snapshotDirectory));
  });

  it("lose a log that the ensemble never agreed on, which its member takes back when it joins again", async () => {
    // Two transactions to a log.
    servers = await startEnsemble({ directory: folder, size: 3, javaOptions: ["-Dzookeeper.snapCount=2"] });
    const modes = await Promise.all(servers.map((server) => server.fourLetterWord("srvr")));
    const leader = servers.find((_, n) => modes[n]?.includes("Mode: leader"));
    if (leader === undefined) throw new Error("there is no leader");
    const others = servers.filter((server) => server !== leader);
    const client = await connectZooKeeper(leader.connectString);
    await client.create("/agreed", Buffer.from("on"));
    await client.close();

    // Nobody but the leader gets to know of the next transactions. Each of them begins a session.
    const before = await readdir(leader.logDirectory);
    const newLogs = async (): Promise<string[]> =>
      (await readdir(leader.logDirectory)).filter((name) => name.startsWith("log.") && !before.includes(name));
    for (const { pid } of others) process.kill(pid, "SIGSTOP");
    const connecting = Promise.allSettled(
      [1, 2].map(() => connectZooKeeper(leader.connectString, { reconnect: false, timeoutMs: 2_000 })),
    );
    while ((await newLogs()).length === 0) await sleep(20);
    await connecting;
    const freeze = await freezeOf(leader);
    await freeze.warm();
    await leader.kill();
    const frozen = await freeze.complete();
    const neverAgreed = await newLogs();
    expect(await readdir(frozen.logs ?? "")).toEqual(expect.arrayContaining(neverAgreed));

    // Without having read what the leader sent them.
    for (const server of others) await server.kill();
    await Promise.all(others.map((server) => server.start()));
    // Before the new leader has a transaction of its own: after that it would send a snapshot instead.
    await leader.start();
    expect([...(await freeze.dropTakenBack())].sort()).toEqual(neverAgreed.sort());
    const later = await connectZooKeeper(others.map(({ connectString }) => connectString).join(","));
    await later.create("/later", Buffer.from("on"));
    await later.close();
    const { tree } = await loadTree([frozen.logs ?? ""]);
    expect([tree.get("/agreed"), tree.get("/later")]).toEqual([expect.anything(), null]);
  });
});

it("two thousand files are links, and nothing is read of them but one log's first record", async () => {
  const server = {
    dataDir: folder,
    snapshotDirectory: join(folder, "version-2"),
    logDirectory: join(folder, "version-2"),
  };
  await mkdir(server.logDirectory);
  for (let n = 1; n <= 2_000; n++) await writeFile(join(server.logDirectory, `log.${n.toString(16)}`), `${n}`);
  const freeze = await freezeOf(server);
  await freeze.warm();
  for (let n = 1; n <= 2_000; n += 100) {
    await rm(join(server.logDirectory, `log.${n.toString(16)}`));
    await writeFile(join(server.logDirectory, `log.${(n + 2_000).toString(16)}`), "new");
  }
  const frozen = await freeze.complete();
  expect(frozen.files).toBe(2_000);
  expect((await readdir(frozen.logs ?? "")).sort()).toEqual((await readdir(server.logDirectory)).sort());
});

const NOBODY = 65_534;
const node = [process.execPath, fileURLToPath(new URL("freeze-process.ts", import.meta.url))];

/** Whether this user may mount, and become another user. It says so where not. */
function mayMount(): boolean {
  const tried = spawnSync("unshare", ["--mount", "sh", "-c", "mount -t tmpfs none /mnt && setpriv --reuid 1 true"], {
    encoding: "utf8",
  });
  if (tried.status === 0) return true;
  console.warn(`SKIPPED TESTS: mounts and other users need root, unshare and setpriv: ${tried.stderr ?? tried.error}`);
  return false;
}

describe.skipIf(!mayMount())("what cannot be linked", () => {
  let data: string;
  let links: string;
  beforeEach(async () => {
    data = join(folder, "zk");
    links = join(folder, "links");
    await mkdir(join(data, "version-2"), { recursive: true });
    await mkdir(links);
    await writeFile(join(data, "version-2", "log.1"), "");
  });

  interface Outcome {
    readonly outcome: { readonly code?: string; readonly message?: string; readonly files?: number };
    readonly left: readonly string[];
  }
  /** In mounts of its own, which end with it. `$1` in `prepare` is the data directory, `$2` the folder for the links. */
  async function freezeAfter(prepare: string, ...command: string[]): Promise<Outcome> {
    const script = `set -e; ${prepare}; shift 2; exec "$@"`;
    const args = ["--mount", "sh", "-c", script, "sh", data, links, ...command];
    const { stdout } = await promisify(execFile)("unshare", args);
    return JSON.parse(stdout) as Outcome;
  }
  const refusal = (...messages: string[]) => ({
    outcome: {
      code: "ERR_SOURCE_UNAVAILABLE",
      message: expect.stringMatching(new RegExp(messages.map((text) => `(?=.*${text})`).join(""), "s")),
    },
  });

  it("is told where one file system is seen through two mounts, as in a container", async () => {
    const result = await freezeAfter('mount --bind "$1" "$1"', ...node, data, links);
    expect(result).toMatchObject(
      refusal("zk/version-2/log.1", "links/links-tested", "not under one mount", "as one volume"),
    );
    expect(result.left).toEqual(["version-2"]);
    // The remedy.
    expect(await freezeAfter('mount --bind "$1" "$1"', ...node, data)).toMatchObject({ outcome: { files: 1 } });
  });

  it("is told where version-2 is a mount of its own", async () => {
    const result = await freezeAfter('mount --bind "$1/version-2" "$1/version-2"', ...node, data);
    expect(result).toMatchObject(refusal("not under one mount"));
    expect(result.left).toEqual(["version-2"]);
  });

  it("is told where files are another user's and protected", async ({ skip }) => {
    const isProtected = (await readFile("/proc/sys/fs/protected_hardlinks", "utf8")).trim() === "1";
    if (!isProtected) skip("fs.protected_hardlinks is not 1 on this machine");
    await promisify(execFile)("chmod", ["0777", folder, data, links]);
    const asNobody = ["setpriv", `--reuid=${NOBODY}`, `--regid=${NOBODY}`, "--clear-groups", ...node, data];
    const result = await freezeAfter("true", ...asNobody);
    expect(result).toMatchObject(
      refusal("belongs to uid 0", "fs.protected_hardlinks=1", "as ZooKeeper's user or as root"),
    );
    expect(result.left).toEqual(["version-2"]);
  });

  it("is told where a file is marked as immutable, or the file system has no links", async ({ skip }) => {
    const file = join(data, "version-2", "log.1");
    if (spawnSync("chattr", ["+i", file]).status !== 0) skip("the file system knows no immutable files");
    try {
      expect(await freezeAfter("true", ...node, data)).toMatchObject(refusal("no hard links", "immutable"));
    } finally {
      spawnSync("chattr", ["-i", file]);
    }
  });

  it("is told where this user may not write beside the data", async () => {
    await promisify(execFile)("chmod", ["0755", folder, data]);
    const asNobody = ["setpriv", `--reuid=${NOBODY}`, `--regid=${NOBODY}`, "--clear-groups", ...node, data];
    const result = await freezeAfter("true", ...asNobody);
    expect(result).toMatchObject(refusal("no permission to write in", "belongs to uid 0", "set linkDir"));
    expect(result.left).toEqual(["version-2"]);
  });

  it("is told where the mount is read-only", async () => {
    const result = await freezeAfter('mount --bind "$1" "$1" && mount -o remount,bind,ro "$1"', ...node, data);
    expect(result).toMatchObject(refusal("read-only here"));
    expect(result.left).toEqual(["version-2"]);
  });

  it("is told where no inode is left", async () => {
    const result = await freezeAfter(
      'mount -t tmpfs -o nr_inodes=8 none "$1" && mkdir "$1/version-2" && touch "$1/version-2/log.1" "$1/1" "$1/2" "$1/3"',
      ...node,
      data,
    );
    expect(result).toMatchObject(refusal("no inode, is left"));
    expect(result.left.toSorted()).toEqual(["1", "2", "3", "version-2"]);
  });

  it("is told where a copy would leave the server no room", async () => {
    const result = await freezeAfter(
      'mount -t tmpfs -o size=32m none "$1" && mkdir "$1/version-2" && head -c 15000000 /dev/zero > "$1/version-2/snapshot.1"',
      ...node,
      data,
    );
    expect(result).toMatchObject(refusal("no room for a copy of", "15000000 bytes", "256 MiB are left free"));
    expect(result.left).toEqual(["version-2"]);
  });
});
