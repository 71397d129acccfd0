import { mkdir, mkdtemp, readdir, readFile, rm, stat, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { journalIn } from "./journal.ts";
import { identityOf } from "./process-identity.ts";

const NODE = { node: "monit's service zookeeper", backInMs: 60_000 };
const GONE = { pid: 2 ** 30, startTicks: "1", bootId: null, pidNamespace: null };

let folder: string;
let stateDir: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "zk-backyp-journal-"));
  stateDir = join(folder, "state");
});
afterEach(() => rm(folder, { recursive: true }));

describe("the journal of a stop", () => {
  it("is there from its begin to its end, in a folder that is nobody else's", async () => {
    const journal = journalIn(stateDir);
    expect(await journal.read()).toBeNull();
    const begun = await journal.begin(NODE);
    expect(begun).toMatchObject({ formatVersion: 1, node: NODE.node, owner: await identityOf(process.pid) });
    expect(Date.parse(begun.backBy) - Date.parse(begun.at)).toBe(60_000);
    expect((await stat(stateDir)).mode & 0o777).toBe(0o700);
    expect(await readdir(stateDir)).toEqual(["stop.json"]);
    expect(await journal.read()).toEqual(begun);
    await journal.end(begun.run);
    expect(await readdir(stateDir)).toEqual([]);
    expect(await journal.read()).toBeNull();
  });

  it("can be begun by one run alone, and names it to the others", async () => {
    const tries = await Promise.allSettled(Array.from({ length: 8 }, () => journalIn(stateDir).begin(NODE)));
    expect(tries.filter(({ status }) => status === "fulfilled")).toHaveLength(1);
    await expect(journalIn(stateDir).begin(NODE)).rejects.toMatchObject({
      code: "ERR_BUSY",
      message: expect.stringContaining(`process ${process.pid} at 2`),
    });
    expect(await readdir(stateDir)).toEqual(["stop.json"]);
  });

  it("of a dead owner is not overwritten", async () => {
    await mkdir(stateDir);
    const left = { formatVersion: 1, run: "r", owner: GONE, node: "n", at: "a", backBy: "b" };
    await writeFile(join(stateDir, "stop.json"), JSON.stringify(left));
    const journal = journalIn(stateDir);
    await expect(journal.begin(NODE)).rejects.toMatchObject({
      code: "ERR_BUSY",
      message: expect.stringContaining("has to be recovered first"),
    });
    expect(await journal.read()).toEqual(left);
    expect(await journal.isOwned(left as never)).toBe(false);
  });

  it("is owned by this process until the run ends or gives up", async () => {
    const journal = journalIn(stateDir);
    const begun = await journal.begin(NODE);
    expect(await journal.isOwned(begun)).toBe(true);
    expect(await journal.isOwned({ ...begun, run: "one before" })).toBe(false);
    journal.leave(begun.run);
    expect(await journal.isOwned(begun)).toBe(false);
    expect(await journal.read()).toEqual(begun);
  });

  it("is not removed by another run", async () => {
    const journal = journalIn(stateDir);
    const begun = await journal.begin(NODE);
    await journal.end("another");
    await journal.end(null);
    expect(await journal.read()).toEqual(begun);
  });

  const valid = { formatVersion: 1, run: "r", owner: GONE, node: "n", at: "a", backBy: "b" };
  it.each([
    ["empty", ""],
    ["torn", '{"formatVersion":1,"run":"abc'],
    ["of zeros, as a crash leaves it", "\0".repeat(300)],
    ["null", "null"],
    ["without an owner", JSON.stringify({ ...valid, owner: undefined })],
    ["with an owner who is a process group", JSON.stringify({ ...valid, owner: { ...GONE, pid: -1 } })],
    ["with an owner who is text", JSON.stringify({ ...valid, owner: { ...GONE, pid: "1" } })],
    ["with a start time that is a list", JSON.stringify({ ...valid, owner: { ...GONE, startTicks: [] } })],
    ["without a run", JSON.stringify({ ...valid, run: 1 })],
    ["without a time", JSON.stringify({ ...valid, at: null })],
    ["longer than any journal", `${JSON.stringify(valid)}${"x".repeat(100_000)}`],
  ])("still stands for a stop when it is %s", async (_, text) => {
    await mkdir(stateDir);
    await writeFile(join(stateDir, "stop.json"), text);
    const journal = journalIn(stateDir);
    expect(await journal.read()).toEqual({ run: null, reason: "it is damaged" });
    await expect(journal.begin(NODE)).rejects.toMatchObject({ code: "ERR_BUSY" });
    await journal.end(null);
    expect(await journal.read()).toBeNull();
  });

  it.each([
    ["a folder", (path: string) => mkdir(path)],
    ["a link that leads nowhere", (path: string) => symlink("/nonexistent", path)],
  ])("still stands for a stop when it is %s", async (_, make) => {
    await mkdir(stateDir);
    await make(join(stateDir, "stop.json"));
    const journal = journalIn(stateDir);
    expect(await journal.read()).toMatchObject({ run: null });
    await expect(journal.begin(NODE)).rejects.toMatchObject({ code: "ERR_BUSY" });
  });

  it.each([
    ["the folder above is missing", "missing/state", /ENOENT.*name another stateDir/],
    ["a file is in the way", "file", /ENOTDIR.*name another stateDir/],
    ["no file system can be written there", "../../proc/state", /make its folder writable/],
  ])("refuses the stop when %s", async (_, place, message) => {
    await writeFile(join(folder, "file"), "");
    await expect(journalIn(join(folder, place)).begin(NODE)).rejects.toMatchObject({
      code: "ERR_STOP_REFUSED",
      message: expect.stringMatching(message),
    });
  });

  it("removes what others left who died over it, and no more", async () => {
    await mkdir(stateDir);
    const run = "228d2e20-1eac-4985-92ad-18040f310cec";
    const dead = `stop.json.${2 ** 30}.${run}.tmp`;
    const alive = `stop.json.1.${run}.tmp`;
    for (const name of [dead, alive, "guard.log", "stop.json.rescued", "stop.json.started"]) {
      await writeFile(join(stateDir, name), run);
    }
    const journal = journalIn(stateDir);
    const begun = await journal.begin(NODE);
    expect((await readdir(stateDir)).sort()).toEqual(["guard.log", "stop.json", alive].sort());
    expect(await journal.rescue(begun.run)).toBe("none");
  });

  it("tells what the guard of this run did", async () => {
    const journal = journalIn(stateDir);
    const { run } = await journal.begin(NODE);
    expect(await journal.rescue(run)).toBe("none");
    await writeFile(`${journal.path}.rescued`, "another run\n");
    expect(await journal.rescue(run)).toBe("none");
    await writeFile(`${journal.path}.rescued`, `${run}\nwhy\n`);
    expect(await journal.rescue(run)).toBe("begun");
    await writeFile(`${journal.path}.started`, `${run}\nwhy\n`);
    expect(await journal.rescue(run)).toBe("done");
    await journal.end(run);
    expect(await readdir(stateDir)).toEqual([]);
  });

  it("is one line, in which a shell finds the run", async () => {
    const journal = journalIn(stateDir);
    const { run } = await journal.begin(NODE);
    expect(await readFile(journal.path, "utf8")).toMatch(new RegExp(`^\\{"formatVersion":1,"run":"${run}",.*\\}\\n$`));
  });
});
