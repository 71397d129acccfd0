import { chmod, cp, mkdir, readFile, realpath, symlink, writeFile } from "node:fs/promises";
import { basename, delimiter, dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { zooKeeperClassPath } from "@zk-backyp/testbed";

const WORKSPACE = fileURLToPath(new URL("../../..", import.meta.url));
const RELEASE = fileURLToPath(new URL("..", import.meta.url));

/**
 * What looks like the release's compiled packages, made from what this machine has: the command as this workspace has
 * built it, with the Node that runs this, and Debian's ZooKeeper and Java. Needs no download.
 *
 * @param into becomes what `/var/vcap/packages` is on a machine; is made
 * @returns the folders that the machine has to see besides
 */
export async function makeStandIns(into: string): Promise<readonly string[]> {
  const node = await realpath(process.execPath);
  const java = await findJava();
  const main = join(WORKSPACE, "apps/daemon/dist/main.js");
  for (const folder of [
    "node-24/bin",
    "zk-backyp/bin",
    "openjdk-17/bin",
    "openjdk-17/bosh",
    "zookeeper/bin",
    "zookeeper/lib",
  ]) {
    await mkdir(join(into, folder), { recursive: true });
  }
  await symlink(node, join(into, "node-24/bin/node"));
  const wrapper = await readFile(join(RELEASE, "src/zk-backyp/bin/zk-backyp"), "utf8");
  await writeFile(
    join(into, "zk-backyp/bin/zk-backyp"),
    wrapper.replace("/var/vcap/packages/zk-backyp/lib/zk-backyp.mjs", `'${main}'`),
    { mode: 0o755 },
  );
  await symlink(java, join(into, "openjdk-17/bin/java"));
  await writeFile(join(into, "openjdk-17/bosh/runtime.env"), `export JAVA_HOME=${dirname(dirname(java))}\n`);
  for (const jar of zooKeeperClassPath().split(delimiter)) {
    await symlink(jar, join(into, "zookeeper/lib", basename(jar)));
  }
  for (const file of ["zkCli", "zkCli-logback.xml"]) {
    await cp(join(RELEASE, "src/zookeeper", file), join(into, "zookeeper/bin", file));
  }
  await chmod(join(into, "zookeeper/bin/zkCli"), 0o755);
  await cp(join(RELEASE, "src/zookeeper-member"), join(into, "zookeeper-member"), { recursive: true });
  const jars = zooKeeperClassPath()
    .split(delimiter)
    .map((jar) => dirname(jar));
  return [
    ...new Set([
      WORKSPACE.replace(/\/$/, ""),
      dirname(node),
      "/usr/lib/jvm",
      "/etc/java-17-openjdk",
      "/usr/share/java",
      ...jars,
    ]),
  ];
}

async function findJava(): Promise<string> {
  for (const folder of (process.env.PATH ?? "").split(delimiter)) {
    const java = await realpath(join(folder, "java")).catch(() => null);
    if (java !== null) return java;
  }
  throw new Error("no java on the PATH");
}
