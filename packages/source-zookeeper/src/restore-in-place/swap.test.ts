import { chmod, mkdir, mkdtemp, readdir, readFile, realpath, rename, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { isBackypError } from "@zk-backyp/core";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { type MemberFolder, memberFolders } from "./member-folders.ts";
import { LOCK_FILE, swapSteps, undoSwap } from "./swap.ts";

const OLD_DATA = { "snapshot.200": "old", acceptedEpoch: "3", currentEpoch: "3", "snapshot.100": "same name, old" };
const NEW_DATA = { "snapshot.100": "new", acceptedEpoch: "1000000", currentEpoch: "1000000" };
const OLD_LOGS = { "log.101": "old", "log.201": "old too" };
const NEW_LOGS = { "log.101": "new", "log.f424000000001": "epoch" };

let folder: string;
beforeEach(async () => {
  folder = await realpath(await mkdtemp(join(tmpdir(), "zk-backyp-swap-")));
});
afterEach(() => rm(folder, { recursive: true }));

type Files = Readonly<Record<string, string>>;

async function put(directory: string, files: Files): Promise<void> {
  await mkdir(directory, { recursive: true });
  for (const [name, text] of Object.entries(files)) await writeFile(join(directory, name), text);
}

async function filesIn(directory: string): Promise<Files> {
  const names = (await readdir(directory).catch(() => [])).sort();
  return Object.fromEntries(
    await Promise.all(names.map(async (name) => [name, await readFile(join(directory, name), "utf8")] as const)),
  );
}

/** A member with one directory or two, and what is to replace its data. */
interface Made {
  readonly targets: { readonly main: string; readonly log?: string };
  readonly old: readonly Files[];
  readonly fresh: readonly Files[];
}

const KINDS = ["one directory", "two directories", "an empty member"] as const;

async function make(kind: (typeof KINDS)[number], name: string): Promise<Made> {
  const main = join(folder, name, "data");
  if (kind === "two directories") {
    const log = join(folder, name, "log");
    await put(join(main, "version-2"), OLD_DATA);
    await put(join(log, "version-2"), OLD_LOGS);
    return { targets: { main, log }, old: [OLD_DATA, OLD_LOGS], fresh: [NEW_DATA, NEW_LOGS] };
  }
  const old = kind === "one directory" ? { ...OLD_DATA, ...OLD_LOGS } : {};
  await mkdir(main, { recursive: true });
  if (kind === "one directory") await put(join(main, "version-2"), old);
  return { targets: { main }, old: [old], fresh: [{ ...NEW_DATA, ...NEW_LOGS }] };
}

async function stage({ targets, fresh }: Made): Promise<{ main: string; log?: string }> {
  const staged: Record<string, string> = {};
  for (const [index, [role, target]] of Object.entries(targets).entries()) {
    staged[role] = join(target, ".zk-backyp-replace-1");
    await put(join(staged[role], "version-2"), fresh[index] ?? {});
  }
  return staged as { main: string };
}

const seen = ({ targets }: Made): Promise<Files[]> =>
  Promise.all(Object.values(targets).map((target) => filesIn(join(target, "version-2"))));

async function begin(made: Made): Promise<{ folders: MemberFolder[]; steps: AsyncGenerator<string, string[], void> }> {
  const folders = await memberFolders(made.targets);
  return { folders, steps: swapSteps({ folders, staged: await stage(made), at: new Date(0) }) };
}

async function countSteps(kind: (typeof KINDS)[number]): Promise<number> {
  const { steps } = await begin(await make(kind, "counted"));
  return (await Array.fromAsync(steps)).length;
}

function withoutLock(files: Files): Files {
  return Object.fromEntries(Object.entries(files).filter(([name]) => name !== LOCK_FILE));
}

describe.each(KINDS)("old and new data of %s change places", (kind) => {
  it("and the old is kept beside it", async () => {
    const made = await make(kind, "member");
    const { folders, steps } = await begin(made);
    let step = await steps.next();
    while (step.done !== true) step = await steps.next();
    expect(await seen(made)).toEqual(made.fresh);
    expect(await undoSwap(folders)).toBe(false);
    const kept = Object.values(made.targets).map((target) => join(target, "version-2.replaced-19700101T000000000Z"));
    expect(step.value.toSorted()).toEqual(kind === "an empty member" ? [] : kept.toSorted());
    expect(await Promise.all(kept.map(filesIn))).toEqual(made.old);
    expect(await seen(made)).toEqual(made.fresh);
  });

  it("or, ended after any step, are undone, with a lock in the way of servers until then", async () => {
    const total = await countSteps(kind);
    expect(total).toBeGreaterThan(4);
    for (let ended = 0; ended <= total; ended += 1) {
      const made = await make(kind, `ended-${ended}`);
      const { folders, steps } = await begin(made);
      let last: unknown;
      for (let taken = 0; taken < ended; taken += 1) last = (await steps.next()).value;
      const now = await seen(made);
      const isLocked = now.some((files) => LOCK_FILE in files);
      const isOld = ended === 0;
      if (!isLocked) expect(now, `after ${ended}, ${last}`).toEqual(isOld ? made.old : made.fresh);
      expect(await undoSwap(folders), `after ${ended}`).toBe(isLocked);
      expect(await seen(made), `after ${ended}, ${last}`).toEqual(isLocked || isOld ? made.old : made.fresh);
      const left = await Promise.all(Object.values(made.targets).map((target) => readdir(target)));
      const isDone = !isLocked && !isOld;
      const expected = isDone ? /^(version-2.*|\.zk-backyp-replace-1)$/ : /^(version-2|\.zk-backyp-replace-1)$/;
      for (const name of left.flat()) expect(name).toMatch(expected);
    }
  });

  it("or are undone in spite of an undoing that was ended half way", async () => {
    const total = await countSteps(kind);
    for (let ended = 1; ended < total - 1; ended += 1) {
      const made = await make(kind, `ended-${ended}`);
      const { folders, steps } = await begin(made);
      for (let taken = 0; taken < ended; taken += 1) await steps.next();
      // One of the files is back already, and one of the new ones is gone.
      const [{ directory = "", version2 = "" } = {}] = folders as Partial<MemberFolder>[];
      const kept = join(directory, "version-2.replaced-19700101T000000000Z");
      const [name] = await readdir(kept).catch(() => []);
      const isStillThere = name !== undefined && name in (await filesIn(version2));
      if (name !== undefined && !isStillThere) await writeFile(join(version2, name), await readFile(join(kept, name)));
      if (name !== undefined && !isStillThere) await rm(join(kept, name));
      expect(await undoSwap(folders)).toBe(true);
      expect(await seen(made), `after ${ended}`).toEqual(made.old);
    }
  });
});

describe("an undone swap", () => {
  it("overwrites nothing that a person has put there", async () => {
    const made = await make("one directory", "member");
    const { folders, steps } = await begin(made);
    for (let step = await steps.next(); step.value !== "kept snapshot.100"; step = await steps.next());
    const path = join(made.targets.main, "version-2/snapshot.100");
    await writeFile(path, "by hand");
    await expect(undoSwap(folders)).rejects.toThrow(/snapshot\.100 is to be put back, but .* is there/);
    expect(await readFile(path, "utf8")).toBe("by hand");
    await rm(path);
    expect(await undoSwap(folders)).toBe(true);
    expect(await seen(made)).toEqual(made.old);
  });

  it("moves nothing from where a link leads to", async () => {
    const made = await make("one directory", "member");
    const { folders, steps } = await begin(made);
    for (let step = await steps.next(); step.value !== "kept snapshot.200"; step = await steps.next());
    const kept = join(made.targets.main, "version-2.replaced-19700101T000000000Z");
    await rename(kept, `${kept}-elsewhere`);
    await symlink(`${kept}-elsewhere`, kept);
    await expect(undoSwap(folders)).rejects.toThrow(/is no folder/);
    expect(Object.keys(await filesIn(`${kept}-elsewhere`))).toHaveLength(Object.keys(made.old[0] ?? {}).length);
  });

  it("is one of the same directories", async () => {
    const made = await make("two directories", "member");
    const { steps } = await begin(made);
    for (let step = await steps.next(); step.value !== "kept log.101"; step = await steps.next());
    for (const targets of [{ main: made.targets.main }, { main: made.targets.log ?? "" }]) {
      const error: unknown = await memberFolders(targets)
        .then(undoSwap)
        .catch((cause) => cause);
      expect(isBackypError(error, "ERR_CONFIG_INVALID"), String(error)).toBe(true);
      expect(String(error)).toContain("name the same directories");
    }
    expect(await undoSwap(await memberFolders(made.targets))).toBe(true);
    expect(await seen(made)).toEqual(made.old);
  });

  it.each([
    ["nothing", ""],
    ["something else", "ZKLG and so on"],
    ["half of it", undefined],
    ["a folder elsewhere", (record: string) => record.replace(/version-2\.replaced-\w+/, "../elsewhere")],
    ["a file elsewhere", (record: string) => record.replace('"snapshot.100"', '"../myid"')],
    ["another document", () => "[]"],
  ])("is not guessed from a lock file with %s in it", async (_, text) => {
    const made = await make("one directory", "member");
    const { folders, steps } = await begin(made);
    await steps.next();
    const lock = join(made.targets.main, "version-2", LOCK_FILE);
    const whole = await readFile(lock, "utf8");
    const [record = ""] = /^\{.*$/m.exec(whole) ?? [];
    const changed = typeof text === "function" ? whole.replace(record, () => text(record)) : whole.slice(0, -20);
    expect(changed).not.toBe(whole);
    await writeFile(lock, typeof text === "string" ? text : changed);
    await expect(undoSwap(folders)).rejects.toThrow(/cannot be understood.*move it back, and remove that file/);
    expect(withoutLock((await seen(made))[0] ?? {})).toEqual(made.old[0]);
  });
});

describe("directories whose data is to be replaced", () => {
  const expectRefused = async (targets: { main: string; log?: string }, code: string, why: RegExp): Promise<void> => {
    const error: unknown = await memberFolders(targets as { main: string }).catch((cause) => cause);
    expect(error).toMatchObject({ code, message: expect.stringMatching(why) });
  };

  it("are refused where nothing can be replaced in them", async () => {
    await put(join(folder, "other"), { "report.pdf": "" });
    await put(join(folder, "data/version-2"), OLD_DATA);
    await put(join(folder, "data/version-2/log/version-2"), OLD_LOGS);
    await put(join(folder, "linked"), {});
    await symlink(join(folder, "data/version-2"), join(folder, "linked/version-2"));
    await put(join(folder, "odd"), { "version-2": "a file" });
    const at = (name: string): string => join(folder, name);
    await expectRefused({ main: at("nowhere") }, "ERR_TARGET_UNAVAILABLE", /no such directory/);
    await expectRefused({ main: at("other/report.pdf") }, "ERR_TARGET_UNAVAILABLE", /not a directory/);
    await expectRefused({ main: at("other") }, "ERR_TARGET_NOT_EMPTY", /no data directory.*"report\.pdf"/);
    await expectRefused({ main: at("data/version-2") }, "ERR_CONFIG_INVALID", /that holds version-2/);
    await expectRefused({ main: at("linked") }, "ERR_TARGET_UNAVAILABLE", /symbolic link/);
    await expectRefused({ main: at("odd") }, "ERR_TARGET_UNAVAILABLE", /not a directory/);
    const inside = { main: at("data"), log: at("data/version-2/log") };
    await expectRefused(inside, "ERR_CONFIG_INVALID", /lies in the version-2 of/);
  });

  it("may be those of a member that has lost all or was never started, with the logs below", async () => {
    await put(join(folder, "data"), { myid: "1", "anything else": "" });
    await put(join(folder, "empty/log"), { initialize: "" });
    await put(join(folder, "empty"), { "zookeeper_server.pid": "" });
    for (const targets of [
      { main: join(folder, "data") },
      { main: join(folder, "empty"), log: join(folder, "empty/log") },
    ]) {
      const folders = await memberFolders(targets as { main: string });
      expect(folders.map(({ role }) => role)).toEqual(Object.keys(targets).reverse());
    }
  });

  it.skipIf(process.getuid?.() === 0)("are refused where they cannot be looked at", async () => {
    await put(join(folder, "closed/data"), {});
    await chmod(join(folder, "closed"), 0);
    await expectRefused({ main: join(folder, "closed/data") }, "ERR_TARGET_UNAVAILABLE", /permission/);
    await chmod(join(folder, "closed"), 0o700);
  });
});
