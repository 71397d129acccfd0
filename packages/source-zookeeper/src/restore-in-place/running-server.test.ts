import { mkdir, mkdtemp, realpath, rm, symlink, writeFile } from "node:fs/promises";
import type { AddressInfo } from "node:net";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { journalIn } from "../stop-promise/journal.ts";
import { type MemberFolder, memberFolders } from "./member-folders.ts";
import { requireStopped } from "./running-server.ts";

let folder: string;
let proc: string;
let folders: MemberFolder[];
beforeEach(async () => {
  folder = await realpath(await mkdtemp(join(tmpdir(), "zk-backyp-stopped-")));
  proc = join(folder, "proc");
  for (const path of ["proc/sys", "data/version-2", "log/version-2", "other/version-2"]) {
    await mkdir(join(folder, path), { recursive: true });
  }
  await symlink("data", join(folder, "link"));
  folders = await memberFolders({ main: join(folder, "data"), log: join(folder, "log") } as { main: string });
});
afterEach(() => rm(folder, { recursive: true }));

async function addProcess(pid: number, args: readonly string[], open: readonly string[] | null): Promise<void> {
  const own = join(proc, String(pid));
  await mkdir(own);
  await writeFile(join(own, "cmdline"), `${args.join("\0")}\0`);
  await writeFile(join(own, "cgroup"), "0::/\n");
  await writeFile(join(own, "comm"), "java\n");
  await symlink(folder, join(own, "cwd"));
  if (open === null) return;
  await mkdir(join(own, "fd"));
  for (const [index, path] of open.entries()) await symlink(path, join(own, "fd", String(index)));
}

async function addServer(pid: number, zooCfg: string | null, open: readonly string[] | null): Promise<void> {
  if (zooCfg !== null) await writeFile(join(folder, `${pid}.cfg`), zooCfg);
  await addProcess(pid, ["java", "org.apache.zookeeper.server.quorum.QuorumPeerMain", `${pid}.cfg`], open);
}

const check = (): Promise<void> => requireStopped(folders, { server: null, stateDir: join(folder, "state"), proc });

describe("data that is to be replaced", () => {
  it("is not in use where others run on other data", async () => {
    await addServer(20, `dataDir=${folder}/other\n`, [`${folder}/other/version-2/log.1`, "socket:[1]", "/dev/null"]);
    await addProcess(21, ["less"], [`${folder}/data/myid`, `${folder}/data/version-2.replaced-1/log.1`]);
    await addProcess(22, ["hidden"], null);
    await check();
  });

  it("is in use by who has a file open there", async () => {
    await addProcess(20, ["solr"], ["/dev/null", `${folder}/log/version-2/log.1`]);
    await expect(check()).rejects.toMatchObject({
      code: "ERR_TARGET_IN_USE",
      message: expect.stringMatching(/process 20 \(java\) has .*log\.1 open\. Stop the server/),
    });
  });

  it.each(["dataDir=FOLDER/data", "dataDir=FOLDER/link", "dataDir=FOLDER/x\ndataLogDir=FOLDER/log"])(
    "is in use by a server that nobody has written to, by its %s",
    async (zooCfg) => {
      await addServer(20, zooCfg.replaceAll("FOLDER", folder), null);
      await expect(check()).rejects.toMatchObject({
        code: "ERR_TARGET_IN_USE",
        message: expect.stringContaining("process 20 is the ZooKeeper server"),
      });
    },
  );

  it("may be in use by a server of which nothing is told; with its open files in sight it is not", async () => {
    await addServer(20, null, []);
    await check();
    await addServer(21, null, null);
    await expect(check()).rejects.toMatchObject({
      code: "ERR_TARGET_UNAVAILABLE",
      message: expect.stringMatching(/cannot tell whether .* process 21 .*as its user .* or as root/),
    });
  });

  it("is not in use by a container that has other data under the same name, but by one that has the same", async () => {
    const zooCfg = `dataDir=${folder}/data\n`;
    await mkdir(join(proc, "self/ns"), { recursive: true });
    await symlink("mnt:[1]", join(proc, "self/ns/mnt"));
    await writeFile(join(folder, "data/version-2/log.1"), "");
    await addServer(20, zooCfg, []);
    // As the kernel shows it: a link that reads as their path, and leads to their file.
    const contain = async (root: string): Promise<void> => {
      await mkdir(join(proc, "20/ns"), { recursive: true });
      await symlink("mnt:[2]", join(proc, "20/ns/mnt"));
      await symlink(root, join(proc, "20/root"));
    };
    await mkdir(join(folder, "container", folder, "data"), { recursive: true });
    await contain(join(folder, "container"));
    await check();
    await rm(join(proc, "20/root"));
    await rm(join(proc, "20/ns"), { recursive: true });
    await contain("/");
    await expect(check()).rejects.toMatchObject({ code: "ERR_TARGET_IN_USE" });
  });

  it("is in use while something answers at its port", async () => {
    const server = createServer().listen(0, "127.0.0.1");
    await new Promise((resolve) => server.once("listening", resolve));
    const { port } = server.address() as AddressInfo;
    const options = { server: { host: "127.0.0.1", port }, stateDir: join(folder, "state"), proc };
    await expect(requireStopped(folders, options)).rejects.toMatchObject({ code: "ERR_TARGET_IN_USE" });
    await new Promise((resolve) => server.close(resolve));
    await requireStopped(folders, options);
  });

  it("is in use while a cold backup has its server stopped", async () => {
    const journal = journalIn(join(folder, "state"));
    const { run } = await journal.begin({ node: "zookeeper", backInMs: 60_000 });
    await expect(check()).rejects.toMatchObject({
      code: "ERR_TARGET_IN_USE",
      message: expect.stringContaining("a cold backup has stopped its server"),
    });
    journal.leave(run);
    await check();
  });

  it("is not in use where there is no /proc to ask", async () => {
    await requireStopped(folders, { server: null, stateDir: join(folder, "state"), proc: join(folder, "none") });
  });
});
