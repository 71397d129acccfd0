import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, it } from "vitest";
import { writeLongLog, writeManyZnodes } from "../test/made-data.ts";
import { measureCli } from "../test/measure-cli.ts";
import { runCli } from "../test/run-cli.ts";

it("two backups of a million znodes are compared in 700 MB", async () => {
  const folder = await mkdtemp(join(tmpdir(), "zk-backyp-diff-"));
  try {
    const sink = join(folder, "backups");
    for (const changed of [false, true]) {
      const data = join(folder, String(changed));
      await writeManyZnodes(join(data, "version-2"), 1_000_000, changed);
      const { code, stderr } = await runCli(["backup", "--data-dir", data, "--to", sink, "--prefix", `p${changed}`]);
      expect({ code, stderr }).toMatchObject({ code: 0 });
    }
    const idOf = async (prefix: string): Promise<string> =>
      JSON.parse((await runCli(["list", "--from", sink, "--prefix", prefix, "--json"])).stdout)[0].id;
    const ids = [await idOf("pfalse"), await idOf("ptrue")];
    const { peakMB, seconds, stdout } = await measureCli(["diff", ...ids, "--from", sink, "--json"]);
    console.log(`diff of two backups of 1,000,000 znodes: ${seconds} s, ${peakMB} MB`);
    const { changes, ...counts }: { changes: { path: string; fields: string[] }[] } = JSON.parse(stdout);
    expect(counts).toMatchObject({ added: 0, removed: 0, changed: 1000 });
    expect(changes).toHaveLength(1000);
    expect(changes[0]).toMatchObject({ path: "/folder-0/node-500", fields: ["data"] });
    expect(peakMB).toBeLessThan(700);
  } finally {
    await rm(folder, { recursive: true });
  }
});

it("a log of 1 GiB goes through in less than 200 MB", async () => {
  const folder = await mkdtemp(join(tmpdir(), "zk-backyp-long-log-"));
  try {
    await writeLongLog(folder, 1024 * 1024 * 1024);
    const { peakMB, seconds, stdout } = await measureCli(["log", folder, "--path", "/n7", "--op", "delete"]);
    console.log(`log of 1 GiB: ${seconds} s, ${peakMB} MB`);
    expect(stdout).toMatch(/multi\/delete +\/n7\n$/);
    expect(peakMB).toBeLessThan(200);
  } finally {
    await rm(folder, { recursive: true });
  }
});
