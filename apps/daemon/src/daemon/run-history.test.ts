import { chmod, mkdtemp, readdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { silentLogger } from "@zk-backyp/core";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { RunRecord } from "./daemon-view.ts";
import { RunHistory } from "./run-history.ts";

let directory = "";

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "zk-backyp-state-"));
});
afterEach(() => rm(directory, { recursive: true, force: true }));

function run(number: number, fields: Partial<RunRecord> = {}): RunRecord {
  const at = new Date(Date.UTC(2026, 10, 22) + number * 1000).toISOString();
  return {
    runId: String(number),
    kind: "backup",
    trigger: "schedule",
    slot: null,
    startedAt: at,
    finishedAt: at,
    durationMs: 0,
    outcome: "ok",
    backupId: `zk-${number}`,
    bytes: 1,
    downtimeMs: null,
    message: "",
    error: null,
    ...fields,
  };
}

const open = (): Promise<RunHistory> => RunHistory.open(join(directory, "state"), "zk / prod", silentLogger);
const onlyFile = async (): Promise<string> => {
  const names = await readdir(join(directory, "state"));
  expect(names).toHaveLength(1);
  return join(directory, "state", names[0] ?? "");
};

describe("a history of runs", () => {
  it("is there again after a restart, newest first", async () => {
    const history = await open();
    await history.add(run(1));
    await history.add(run(2, { kind: "verify", backupId: "zk-1" }));
    const again = await open();
    expect(again.runs).toEqual([run(2, { kind: "verify", backupId: "zk-1" }), run(1)]);
    expect(again.lastVerified).toEqual({ id: "zk-1", at: run(2).finishedAt });
    expect(again.verifiedAt("zk-1")).toBe(run(2).finishedAt);
  });

  it("is kept in a file that only its owner can read", async () => {
    await (await open()).add(run(1));
    expect((await stat(await onlyFile())).mode & 0o777).toBe(0o600);
  });

  it("remembers 200 runs", async () => {
    const history = await RunHistory.open(null, "zk", silentLogger);
    for (let number = 0; number < 250; number++) await history.add(run(number));
    expect(history.runs).toHaveLength(200);
    expect(history.runs[0]?.runId).toBe("249");
  });

  it("does not forget what comes seldom for what comes often", async () => {
    const history = await RunHistory.open(null, "zk", silentLogger);
    await history.add(run(0, { kind: "verify" }));
    for (let number = 1; number < 400; number++) await history.add(run(number));
    expect(history.runs.at(-1)).toMatchObject({ runId: "0", kind: "verify" });
  });

  it("keeps one of the runs of a slot that are postponed again and again", async () => {
    const history = await RunHistory.open(null, "zk", silentLogger);
    await history.add(run(0, { outcome: "failed" }));
    for (let number = 1; number < 5; number++)
      await history.add(run(number, { outcome: "postponed", slot: "2026-11-22T00:00:00.000Z" }));
    expect(history.runs.map(({ runId }) => runId)).toEqual(["4", "0"]);
  });

  it("forgets that a backup was good once it was found damaged", async () => {
    const history = await open();
    await history.add(run(1, { kind: "verify", backupId: "zk-1" }));
    await history.add(run(2, { kind: "verify", backupId: "zk-1", outcome: "damaged" }));
    expect(history.verifiedAt("zk-1")).toBeNull();
    expect(history.lastVerified).toBeNull();
  });

  it.each(["", "{", "[]", '{"formatVersion":2}', '{"formatVersion":1,"runs":[{}],"verified":[]}'])(
    "begins anew where its file is spoilt (%s)",
    async (text) => {
      await (await open()).add(run(1));
      await writeFile(await onlyFile(), text);
      const history = await open();
      expect(history.runs).toEqual([]);
      await history.add(run(2));
      expect(JSON.parse(await readFile(await onlyFile(), "utf8")).runs).toEqual([run(2)]);
    },
  );

  it("goes on without its directory, and says so", async () => {
    const warnings: string[] = [];
    const logger = { ...silentLogger, warn: (_: object, message: string) => warnings.push(message) };
    await writeFile(join(directory, "state"), "no directory");
    const parse = RunHistory.open(join(directory, "state"), "zk", logger);
    await expect(parse).rejects.toMatchObject({ code: "ERR_CONFIG_INVALID" });
    await rm(join(directory, "state"));
    const history = await RunHistory.open(join(directory, "state"), "zk", logger);
    await writeFile(join(directory, "state"), "no directory");
    await history.add(run(1));
    expect(history.runs).toHaveLength(1);
    expect(warnings).toEqual(["what has run could not be written into stateDir"]);
  });

  it.skipIf(process.getuid?.() === 0)("says which file it may not read", async () => {
    await (await open()).add(run(1));
    const path = await onlyFile();
    await chmod(path, 0);
    await expect(open()).rejects.toMatchObject({ code: "ERR_CONFIG_INVALID", message: expect.stringContaining(path) });
  });
});
