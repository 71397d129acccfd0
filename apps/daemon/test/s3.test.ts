import type { ChildProcess } from "node:child_process";
import { mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { openSeries } from "@zk-backyp/core";
import { scriptedSource } from "@zk-backyp/core/testing";
import { createS3Sink } from "@zk-backyp/sink-s3";
import {
  type CephRgw,
  cephRgwMissing,
  connectZooKeeper,
  requirePart,
  startCephRgw,
  startZooKeeper,
  unpackFixture,
  writeLargeData,
  writeSampleData,
  zooKeeperMissing,
} from "@zk-backyp/testbed";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type CliResult, runCli } from "./run-cli.ts";

const MIB = 1024 * 1024;

describe.skipIf(!requirePart(cephRgwMissing()))("the command with a real S3 server", () => {
  let folder: string;
  let s3: CephRgw;
  let dataDir: string;
  let env: Record<string, string>;

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), "zk-backyp-s3-"));
    s3 = await startCephRgw({ directory: join(folder, "rgw") });
    await s3.createBucket("backups");
    ({ dataDir } = await unpackFixture("zookeeper-3.8.0-rich", folder));
    env = { AWS_ACCESS_KEY_ID: s3.accessKeyId, AWS_SECRET_ACCESS_KEY: s3.secretAccessKey };
  });
  afterAll(async () => {
    await s3?.stop();
    await rm(folder, { recursive: true, force: true });
  });

  const address = (path: string, endpoint = s3.endpoint): string =>
    `s3://backups/${path}?endpoint=${endpoint}&region=us-east-1&pathStyle=true`;

  const expectFailure = async (args: readonly string[], code: number, message: RegExp, with_ = env): Promise<void> => {
    const result = await runCli(args, { env: with_ });
    expect({ code: result.code, stderr: result.stderr }).toEqual({ code, stderr: expect.stringMatching(message) });
    expect(result.stderr).not.toMatch(/\n {4}at /);
    expect(result.stderr).not.toContain(with_.AWS_SECRET_ACCESS_KEY ?? "(no secret)");
  };

  it("backs up, lists, shows, verifies and restores", async () => {
    const sink = address("round-trip");
    const manifest = JSON.parse(
      (await runCli(["backup", "--data-dir", dataDir, "--to", sink, "--json"], { env })).stdout,
    );
    expect(await s3.objects("backups")).toEqual([
      `round-trip/${manifest.archive.key}`,
      `round-trip/zookeeper-backup/manifests/${manifest.id}.json`,
    ]);
    const target = join(folder, "restored");
    for (const args of [["list"], ["show", "latest"], ["verify", "--all"], ["restore", manifest.id, "--to", target]]) {
      const { code, stderr } = await runCli([...args, "--from", sink], { env });
      expect({ code, stderr }, args.join(" ")).toEqual({ code: 0, stderr: "" });
    }
    const inspected = JSON.parse((await runCli(["inspect", target, "--json"])).stdout);
    expect(inspected.recoverable.zxid).toBe("0x3ea");
  });

  it.skipIf(!requirePart(zooKeeperMissing()))("brings a live server's data back into another one", async () => {
    const live = await startZooKeeper({ directory: join(folder, "live") });
    const client = await connectZooKeeper(live.connectString);
    await writeSampleData(client);
    await client.close();
    const target = join(folder, "live-restored");
    const sink = address("live");
    try {
      expect((await runCli(["backup", "--zoo-cfg", live.configFile, "--to", sink], { env })).code).toBe(0);
    } finally {
      await live.stop();
    }
    expect((await runCli(["restore", "latest", "--from", sink, "--to", target], { env })).code).toBe(0);
    const restored = await startZooKeeper({ directory: join(folder, "second"), dataDir: target });
    try {
      const reader = await connectZooKeeper(restored.connectString);
      expect(JSON.parse(String((await reader.getData("/app/config/features")).data))).toMatchObject({ checkout: "v2" });
      await reader.close();
    } finally {
      await restored.stop();
    }
  });

  it("says which bucket is missing, which credentials are refused, which endpoint does not answer", async () => {
    const backup = (to: string): string[] => ["backup", "--data-dir", dataDir, "--to", to];
    await expectFailure(backup(address("x").replace("//backups", "//nowhere")), 1, /ERR_SINK_NOT_FOUND.*nowhere/);
    const wrong = { ...env, AWS_SECRET_ACCESS_KEY: "not-the-right-secret" };
    await expectFailure(backup(address("x")), 1, /ERR_SINK_DENIED/, wrong);
    await expectFailure(["list", "--from", address("x")], 1, /ERR_SINK_DENIED/, {
      ...env,
      AWS_ACCESS_KEY_ID: "nobody",
    });
    await expectFailure(backup(address("x")), 1, /ERR_SINK_DENIED.*credentials/i, {});
    await expectFailure(backup(address("x", "http://127.0.0.1:1")), 1, /ERR_SINK_UNAVAILABLE.*127\.0\.0\.1:1/);
    await expectFailure(["restore", "latest", "--from", address("empty"), "--to", join(folder, "n")], 4, /no backup/);
    expect((await s3.objects("backups")).filter((key) => key.startsWith("x/"))).toEqual([]);
  });

  it("refuses addresses with secrets or misspelt parameters", async () => {
    await expectFailure(["list", "--from", "s3://key:hunter2@backups/x"], 2, /^(?!.*hunter2)/s);
    await expectFailure(["list", "--from", "s3://backups/x?enpoint=http://h"], 2, /enpoint/);
  });

  it("prunes by the rules, and keeps what is pinned", async () => {
    const sink = address("pruned");
    const ids: string[] = [];
    for (let run = 0; run < 4; run += 1) {
      const { stdout } = await runCli(["backup", "--data-dir", dataDir, "--to", sink, "--json"], { env });
      ids.push(JSON.parse(stdout).id);
    }
    const [first = "", , , last = ""] = ids;
    const pin = ["pin", first, "--from", sink, "--until", "14d", "--reason", "audit"];
    expect((await runCli(pin, { env })).code).toBe(0);
    const { code, stdout, stderr } = await runCli(["prune", "--from", sink, "--keep-last", "1", "--json"], { env });
    expect({ code, stderr, result: JSON.parse(stdout) }).toMatchObject({
      code: 0,
      stderr: "",
      result: { deleted: ids.slice(1, 3), swept: [], unfinishedUploads: 0, problems: [], failures: [] },
    });
    expect((await s3.objects("backups")).filter((key) => key.startsWith("pruned/"))).toEqual([
      ...[first, last].map((id) => `pruned/zookeeper-backup/archives/${id}.tar.gz`),
      ...[first, last].map((id) => `pruned/zookeeper-backup/manifests/${id}.json`),
      `pruned/zookeeper-backup/pins/${first}.json`,
    ]);
    expect((await runCli(["verify", "--all", "--from", sink], { env })).code).toBe(0);
    await expectFailure(["prune", "--from", sink], 2, /no rule would keep a backup/);
  });

  describe("while a large upload is under way", () => {
    let large: string;
    beforeAll(async () => {
      large = join(folder, "large");
      await writeLargeData(large, 400 * MIB);
    });

    /** Runs a backup and calls `during` once it is well under way: parts of it have been sent. */
    const interrupt = async (
      path: string,
      during: (child: ChildProcess) => Promise<void> | void,
      more: readonly string[] = [],
    ): Promise<CliResult> => {
      let acting: Promise<void> | undefined;
      const result = await runCli(["backup", "--data-dir", large, "--to", address(path), ...more], {
        env,
        onStart(child) {
          acting = (async () => {
            while ((await s3.unfinishedUploads("backups")).length === 0) await sleep(20);
            await during(child);
          })();
        },
      });
      await acting;
      return result;
    };

    it.each(["SIGINT", "SIGTERM"] as const)("%s ends it with 130 and leaves nothing dangling", async (name) => {
      const { code, stderr } = await interrupt(name, (child) => void child.kill(name));
      expect({ code, stderr }).toEqual({ code: 130, stderr: expect.stringMatching(/ERR_ABORTED: stopped by SIG/) });
      expect(await s3.unfinishedUploads("backups")).toEqual([]);
      expect((await s3.objects("backups")).filter((key) => key.startsWith(name))).toEqual([]);
    });

    it("a second backup into the same series is told that one is running, and the first goes on", async () => {
      const first = await interrupt("busy", async () => {
        await expectFailure(["backup", "--data-dir", dataDir, "--to", address("busy")], 5, /ERR_BUSY.*process \d+/);
        const other = ["backup", "--data-dir", dataDir, "--to", address("busy"), "--prefix", "another"];
        expect((await runCli(other, { env })).code).toBe(0);
      }, ["--compression", "gzip:1"]);
      expect(first.code).toBe(0);
      expect((await runCli(["verify", "--all", "--from", address("busy")], { env })).code).toBe(0);
    });

    it("a kill leaves an upload, which a prune leaves alone for a day and then removes", async () => {
      expect((await runCli(["backup", "--data-dir", dataDir, "--to", address("killed")], { env })).code).toBe(0);
      const { code } = await interrupt("killed", (child) => void child.kill("SIGKILL"));
      expect(code).toBeNull();
      expect(await s3.unfinishedUploads("backups")).toHaveLength(1);
      const prune = ["prune", "--from", address("killed"), "--keep-last", "1", "--json"];
      expect(JSON.parse((await runCli(prune, { env })).stdout).unfinishedUploads).toBe(0);
      expect(await s3.unfinishedUploads("backups")).toHaveLength(1);

      const { accessKeyId, secretAccessKey, endpoint } = s3;
      const sink = await createS3Sink({ bucket: "backups", prefix: "killed", endpoint, accessKeyId, secretAccessKey });
      const source = scriptedSource({});
      const clock = (): Date => new Date(Date.now() + 25 * 3_600_000);
      const series = openSeries({ prefix: "zookeeper-backup", source, sink, clock });
      const result = await series.prune({ rules: { keepLast: 1 } });
      await sink.close();
      expect(result).toMatchObject({ deleted: [], unfinishedUploads: 1, failures: [] });
      expect(await s3.unfinishedUploads("backups")).toEqual([]);
    });

    it("the store's end is an error that says so, and the next run finds nothing in its way", async () => {
      const second = await startCephRgw({ directory: join(folder, "rgw-2") });
      await second.createBucket("backups");
      const secondEnv = { AWS_ACCESS_KEY_ID: second.accessKeyId, AWS_SECRET_ACCESS_KEY: second.secretAccessKey };
      const { code, stderr } = await runCli(["backup", "--data-dir", large, "--to", address("x", second.endpoint)], {
        env: secondEnv,
        onStart: () => void sleep(1_500).then(() => second.stop()),
      });
      expect({ code, stderr }).toEqual({ code: 1, stderr: expect.stringMatching(/ERR_SINK_UNAVAILABLE/) });
    });
  });

  it("leaves nothing in the temporary directory", async () => {
    expect((await readdir(tmpdir())).filter((name) => name.startsWith("zk-backyp-restore"))).toEqual([]);
  });
});
