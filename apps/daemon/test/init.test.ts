import { mkdtemp, readFile, realpath, rm, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { FoundServer } from "@zk-backyp/source-zookeeper";
import { requirePart, startZooKeeper, type ZooKeeperServer, zooKeeperMissing } from "@zk-backyp/testbed";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { runCli } from "./run-cli.ts";

describe.skipIf(!requirePart(zooKeeperMissing()))("a new configuration on a host with a real server", () => {
  let folder: string;
  let server: ZooKeeperServer;
  beforeAll(async () => {
    folder = await realpath(await mkdtemp(join(tmpdir(), "zk-backyp-init-")));
    server = await startZooKeeper({ directory: join(folder, "server") });
  });
  afterAll(async () => {
    await server?.stop();
    await rm(folder, { recursive: true, force: true });
  });

  it("names that server, passes the check, and serves for a backup as it is", async () => {
    const path = join(folder, "zk-backyp.config.yaml");
    const { code, stdout } = await runCli(["init", "--to", "backups", "--json"], { cwd: folder });
    expect(code).toBe(0);
    const { written, servers } = JSON.parse(stdout) as { written: string; servers: FoundServer[] };
    expect(written).toBe(path);
    // There may be others on the host.
    const index = servers.findIndex(({ pid }) => pid === server.pid);
    expect(servers[index]).toMatchObject({
      zooCfg: server.configFile,
      dataDir: server.dataDir,
      clientPort: server.clientPort,
      members: 0,
      problem: null,
    });
    expect(((await stat(path)).mode & 0o777).toString(8)).toBe("600");
    const text = await readFile(path, "utf8");
    expect(text).toContain(`zooCfg: ${JSON.stringify(server.configFile)}`);
    expect(text).toContain(`path: ${JSON.stringify(join(folder, "backups"))}`);

    const name = servers.length === 1 ? "zookeeper" : `zookeeper-${server.clientPort}`;
    const checked = await runCli(["check", "--series", name], { cwd: folder });
    expect(checked.stdout).toMatch(/ 0 failed, /);
    expect(checked).toMatchObject({ code: 0, stderr: "" });
    expect((await runCli(["backup", "--series", name], { cwd: folder })).code).toBe(0);
  });

  it("is refused where there is one", async () => {
    const before = await readFile(join(folder, "zk-backyp.config.yaml"), "utf8");
    const { code, stderr } = await runCli(["init", "--to", "elsewhere"], { cwd: folder });
    expect({ code, stderr }).toEqual({ code: 2, stderr: expect.stringMatching(/is there already.*--force/) });
    expect(await readFile(join(folder, "zk-backyp.config.yaml"), "utf8")).toBe(before);
  });
});
