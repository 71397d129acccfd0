import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  connectZooKeeper,
  requirePart,
  startZooKeeper,
  writeSampleData,
  type ZooKeeperClient,
  type ZooKeeperServer,
  zooKeeperMissing,
} from "@zk-backyp/testbed";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { runCli } from "./run-cli.ts";

interface ExportedZnode {
  readonly path: string;
  readonly data: { readonly utf8?: string; readonly base64?: string } | null;
  readonly children: number;
  readonly kind: string;
  readonly stat: Readonly<Record<string, string | number>>;
}

describe.skipIf(!requirePart(zooKeeperMissing()))("the directory of a server that runs", () => {
  let folder: string;
  let server: ZooKeeperServer;
  let client: ZooKeeperClient;
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), "zk-backyp-live-"));
    server = await startZooKeeper({ directory: join(folder, "server"), dataLogDir: join(folder, "log") });
    client = await connectZooKeeper(server.connectString);
    await writeSampleData(client);
    await client.create("/binary", Buffer.from([0, 255, 254, 10]));
    await client.create("/empty", Buffer.alloc(0));
    await client.create("/null", null);
  });
  afterAll(async () => {
    await client?.close();
    await server?.stop();
    await rm(folder, { recursive: true, force: true });
  });

  const where = (): string => `${server.dataDir},${server.dataLogDir}`;
  const hex = (value: bigint): string => `0x${BigInt.asUintN(64, value).toString(16)}`;

  async function ok(...args: string[]): Promise<string> {
    const { code, stdout, stderr } = await runCli(args);
    expect({ args, code, stderr }).toEqual({ args, code: 0, stderr: "" });
    return stdout;
  }

  it("shows every znode as a client sees it", async () => {
    const seen = await client.readTree();
    const { znodes }: { znodes: ExportedZnode[] } = JSON.parse(await ok("export", where(), "/"));
    const exported = znodes.filter(({ path }) => path !== "/zookeeper" && !path.startsWith("/zookeeper/"));
    expect(exported.map(({ path }) => path).sort()).toEqual([...seen.keys()].sort());
    for (const { path, data, children, kind, stat } of exported) {
      const real = seen.get(path);
      if (real === undefined) throw new Error(`${path} was not seen`);
      const bytes =
        data === null ? null : Buffer.from(data.utf8 ?? data.base64 ?? "", data.utf8 === undefined ? "base64" : "utf8");
      expect({ path, bytes, children, kind, stat }).toEqual({
        path,
        bytes: real.data,
        children: real.numChildren,
        kind: real.ephemeralOwner === 0n ? "persistent" : "ephemeral",
        stat: {
          czxid: hex(real.czxid),
          mzxid: hex(real.mzxid),
          pzxid: hex(real.pzxid),
          ctime: new Date(Number(real.ctime)).toISOString(),
          mtime: new Date(Number(real.mtime)).toISOString(),
          version: real.version,
          // Clients are told of deleted children too.
          cversion: (real.cversion + real.numChildren) / 2,
          aversion: real.aversion,
          ephemeralOwner: hex(real.ephemeralOwner),
        },
      });
    }
  });

  it("tells who deleted a znode, in a multi and with a session", async () => {
    const other = await connectZooKeeper(server.connectString);
    await other.create("/lock", null, { ephemeral: true });
    await client.create("/doomed", Buffer.from("x"));
    const { zxid } = await other.multi([
      { type: "setData", path: "/empty", data: Buffer.from("y") },
      { type: "delete", path: "/doomed" },
    ]);
    const end = await other.close();
    for (const [path, when, op] of [
      ["/doomed", zxid, "multi/delete"],
      ["/lock", end ?? 0n, "closeSession"],
    ] as const) {
      const deletion = (await ok("log", where(), "--path", path, "--op", "delete")).split("\n")[1];
      expect(deletion).toMatch(new RegExp(`^${hex(when)} .* ${hex(other.sessionId)} +${op} +${path}`));
      const { code, stderr } = await runCli(["cat", where(), path]);
      expect(code).toBe(4);
      expect(stderr).toContain(`deleted at ${hex(when)} `);
      expect(stderr).toContain(hex(other.sessionId));
    }
    expect(await ok("cat", where(), "/doomed", "--at-zxid", hex(zxid - 1n))).toBe("x");
  });

  it("is compared with a backup of it, while it changes", async () => {
    const sink = join(folder, "backups");
    await ok("backup", "--data-dir", server.dataDir, "--data-log-dir", server.dataLogDir, "--to", sink);
    await client.setData("/binary", Buffer.from("text now"));
    let writing = true;
    const writer = (async () => {
      for (let n = 0; writing; n++) await client.create(`/written-${n}`, Buffer.from(String(n)));
      return null;
    })();
    try {
      for (let round = 0; round < 3; round++) {
        const found = (await ok("diff", "latest", where(), "--from", sink)).split("\n");
        expect(found[0]).toBe("M  /binary  data 4 B → 8 B, version 0 → 1");
        const added = found.filter((line) => line.startsWith("A")).map((line) => line.split(/ +/)[1]);
        // Each was there when the one after it was made.
        const expected = added.map((_, n) => `/written-${n}`);
        expect(added.sort()).toEqual(expected.sort());
      }
    } finally {
      writing = false;
      await writer;
    }
  });
});
