import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, it } from "vitest";
import { writeLongLog } from "./made-data.ts";
import { measureCli } from "./measure-cli.ts";

it("the deletion of a znode is found in a log of 64 MiB, which is not held in memory", async () => {
  const folder = await mkdtemp(join(tmpdir(), "zk-backyp-long-log-"));
  try {
    await writeLongLog(folder, 64 * 1024 * 1024);
    const { peakMB, stdout } = await measureCli(["log", folder, "--path", "/n7", "--op", "delete"]);
    expect(stdout).toMatch(/^ZXID .*\n0x\w+ +2023-11-14 \d\d:\d\d:\d\d +0x100000000000001 +multi\/delete +\/n7\n$/);
    expect(peakMB).toBeLessThan(200);
  } finally {
    await rm(folder, { recursive: true });
  }
});
