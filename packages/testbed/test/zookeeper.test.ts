import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import {
  connectZooKeeper,
  purge,
  requirePart,
  startEnsemble,
  startZooKeeper,
  type ZooKeeperServer,
  zooKeeperMissing,
} from "../src/index.ts";

describe.skipIf(!requirePart(zooKeeperMissing()))("ZooKeeper servers", () => {
  let directory: string;
  let servers: ZooKeeperServer[];

  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), "zk-backyp-testbed-"));
    servers = [];
  });

  afterEach(async () => {
    await Promise.all(servers.map((server) => server.kill()));
    await rm(directory, { recursive: true, force: true });
  });

  it("starts a standalone server, which keeps its data over a kill and a restart", async () => {
    const server = await startZooKeeper({ directory, config: { snapCount: "100" } });
    servers.push(server);
    const client = await connectZooKeeper(server.connectString);
    await client.create("/a", Buffer.from("1"));
    await client.create("/a/null");
    await client.create("/a/empty", Buffer.alloc(0));
    await client.create("/a/ephemeral", Buffer.from("e"), { ephemeral: true });
    const { value: sequential } = await client.create("/a/job-", null, { sequential: true });
    expect(sequential).toBe("/a/job-0000000003");
    await expect(client.create("/a")).rejects.toMatchObject({ code: "NODE_EXISTS" });
    await expect(client.delete("/b")).rejects.toMatchObject({ code: "NO_NODE" });
    expect(await client.exists("/b")).toBeNull();
    const { zxid } = await client.multi([
      { type: "check", path: "/a" },
      { type: "create", path: "/b", data: null },
      { type: "setData", path: "/a", data: Buffer.from("2") },
      { type: "delete", path: sequential },
    ]);
    const tree = await client.readTree();
    expect([...tree.keys()]).toEqual(["/", "/a", "/a/empty", "/a/ephemeral", "/a/null", "/b"]);
    expect(tree.get("/a")).toMatchObject({ data: Buffer.from("2"), version: 1, mzxid: zxid, ephemeralOwner: 0n });
    expect(tree.get("/a/null")?.data).toBeNull();
    expect(tree.get("/a/empty")?.data).toEqual(Buffer.alloc(0));
    expect(tree.get("/a/ephemeral")?.ephemeralOwner).toBe(client.sessionId);
    expect(await client.close()).toBe(zxid + 1n);

    const pid = server.pid;
    await server.kill();
    expect(server.running).toBe(false);
    expect(existsSync(`/proc/${pid}`)).toBe(false);
    await server.start();
    expect(server.pid).not.toBe(pid);
    const again = await connectZooKeeper(server.connectString);
    expect([...(await again.readTree()).keys()]).toEqual(["/", "/a", "/a/empty", "/a/null", "/b"]);
    await again.close();
    expect(await server.fourLetterWord("ruok")).toBe("imok");
    const admin = await fetch(`http://127.0.0.1:${server.adminPort}/commands/ruok`);
    expect(admin.status).toBe(200);
    await server.stop();
    await expect(server.fourLetterWord("ruok")).rejects.toThrow("ECONNREFUSED");
    expect(await readdir(server.snapshotDirectory)).toContain("snapshot.0");
    expect(await server.log()).toContain("binding to port");
  });

  it("purges as ZooKeeper itself does", async () => {
    const server = await startZooKeeper({ directory, dataLogDir: join(directory, "log") });
    servers.push(server);
    for (let round = 0; round < 4; round += 1) {
      const client = await connectZooKeeper(server.connectString);
      await client.create(`/round-${round}`);
      await client.close();
      await server.stop();
      await server.start();
    }
    const snapshots = async () => (await readdir(server.snapshotDirectory)).filter((n) => n.startsWith("snapshot."));
    expect((await snapshots()).length).toBeGreaterThan(3);
    await purge(server, 3);
    expect(await snapshots()).toHaveLength(3);
  });

  it("takes other ports when the ones it chose are taken, and says why it cannot start", async () => {
    await expect(startZooKeeper({ directory, config: { dataDir: "/dev/null/no" } })).rejects.toThrow(/\/dev\/null/);
    const occupied = createServer().listen(0, "127.0.0.1");
    await once(occupied, "listening");
    const address = occupied.address();
    const port = typeof address === "object" && address !== null ? address.port : 0;
    await expect(startZooKeeper({ directory, port })).rejects.toThrow(/Address already in use/);
    occupied.close();
  });

  it("starts an ensemble of three that elects a leader and replicates", async () => {
    servers = await startEnsemble({ directory, size: 3, separateLogs: true });
    const modes = await Promise.all(servers.map(async (s) => /Mode: (\w+)/.exec(await s.fourLetterWord("srvr"))?.[1]));
    expect(modes.toSorted()).toEqual(["follower", "follower", "leader"]);
    const [first, second] = servers;
    if (first === undefined || second === undefined) throw new Error("three servers were asked for");
    const client = await connectZooKeeper(first.connectString);
    await client.create("/replicated", Buffer.from("x"));
    await client.close();
    await first.stop();
    await first.start();
    const other = await connectZooKeeper(first.connectString);
    expect((await other.getData("/replicated")).data).toEqual(Buffer.from("x"));
    await other.close();
    expect(await readFile(join(second.dataDir, "myid"), "utf8")).toBe("2\n");
    expect(await readdir(second.logDirectory)).toContainEqual(expect.stringMatching(/^log\./));
    await Promise.all(servers.map((server) => server.stop()));
  });

  it("leaves no server behind when its starter is killed", async () => {
    const testbed = new URL("../src/index.ts", import.meta.url).href;
    const code = `
      const { startZooKeeper } = await import(${JSON.stringify(testbed)});
      const server = await startZooKeeper({ directory: ${JSON.stringify(directory)} });
      console.log(server.pid);
      setInterval(() => {}, 1000);`;
    const starter = spawn(process.execPath, ["--input-type=module", "-e", code], {
      cwd: fileURLToPath(new URL("..", import.meta.url)),
      stdio: ["ignore", "pipe", "inherit"],
    });
    const [line] = await once(starter.stdout, "data");
    const pid = Number(line);
    expect(await isAlive(pid)).toBe(true);
    starter.kill("SIGKILL");
    await expect.poll(() => isAlive(pid), { timeout: 5_000 }).toBe(false);
  });
});

// A process that has ended and has not been reaped still has its pid.
async function isAlive(pid: number): Promise<boolean> {
  const status = await readFile(`/proc/${pid}/status`, "utf8").catch(() => "State: X");
  return !/^State:\s+[ZX]/m.test(status);
}
