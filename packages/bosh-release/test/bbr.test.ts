import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { cp } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import {
  type BbrAccess,
  BbrError,
  type BbrInstance,
  bbrBackup,
  bbrRestore,
  bbrRestoreCleanup,
} from "../testing/bbr.ts";

const BBR = "/var/vcap/store/bbr-backup";
const ALL = [
  "metadata",
  "pre-backup-lock",
  "backup",
  "post-backup-unlock",
  "pre-restore-lock",
  "restore",
  "post-restore-unlock",
];

let folder: string;
/** What was run, as `INDEX JOB/SCRIPT`. */
let calls: string[];
/** Metadata by job. */
let metadata: Record<string, string>;
/** Calls that fail. */
let failing: Set<string>;
let envs: Map<string, Readonly<Record<string, string>>>;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "bbr-"));
  calls = [];
  metadata = {};
  failing = new Set();
  envs = new Map();
});

afterEach(() => rmSync(folder, { recursive: true, force: true }));

/** An instance whose root is a folder; its scripts do nothing but be noted, and leave a file each in the artifact. */
function instance(index: number, jobs: readonly string[], { backupOneRestoreAll = false } = {}): BbrInstance {
  mkdirSync(join(folder, String(index), "/var/vcap/store"), { recursive: true });
  return {
    group: "zk",
    index,
    bootstrap: index === 0,
    jobs: jobs.map((name) => ({ name, release: "rel", backupOneRestoreAll })),
  };
}

const root = ({ index }: BbrInstance): string => join(folder, String(index));

const access: BbrAccess = {
  async run(on, argv, env) {
    const path = argv.at(-1) ?? "";
    const [, job = "", script = ""] = /^\/var\/vcap\/jobs\/(.*)\/bin\/bbr\/(.*)$/.exec(path) ?? [];
    const ok = { code: 0, stdout: "", stderr: "" };
    if (path.startsWith("find /var/vcap/jobs")) {
      const found = on.jobs.flatMap(({ name }) =>
        ["README", ...ALL].map((each) => `/var/vcap/jobs/${name}/bin/bbr/${each}`),
      );
      if (found.length === 0) return { code: 1, stdout: "", stderr: "find: '...': No such file or directory" };
      return { ...ok, stdout: `${found.join("\n")}\n` };
    }
    if (script === "metadata") return { ...ok, stdout: metadata[job] ?? "---\n" };
    if (script === "") {
      try {
        const text = path.replaceAll(BBR, join(root(on), BBR));
        return {
          ...ok,
          stdout: execFileSync(argv[0] ?? "", [...argv.slice(1, -1), text], { encoding: "utf8", stdio: "pipe" }),
        };
      } catch (error) {
        return { code: 1, stdout: "", stderr: String(error) };
      }
    }
    const call = `${on.index} ${job}/${script}`;
    calls.push(call);
    envs.set(call, env);
    if (failing.has(call)) return { code: 3, stdout: "", stderr: `${call} says why` };
    if (script === "backup") writeFileSync(join(root(on), env.BBR_ARTIFACT_DIRECTORY ?? "", "data"), `of ${on.index}`);
    if (script === "restore") {
      calls.push(`${on.index} has ${readFileSync(join(root(on), env.BBR_ARTIFACT_DIRECTORY ?? "", "data"), "utf8")}`);
    }
    return ok;
  },
  download: (on, from, to) => cp(join(root(on), from), to, { recursive: true }),
  upload: (on, from, to) => cp(from, join(root(on), to), { recursive: true }),
};

const only = (script: string): string[] => calls.filter((call) => call.endsWith(`/${script}`));

describe("a backup by BBR", () => {
  it("locks all, backs all up, unlocks all, and leaves nothing on the instances", async () => {
    const instances = [instance(0, ["a"]), instance(1, ["a"])];
    await bbrBackup(instances, access, join(folder, "into"));
    expect(calls).toEqual(
      ["pre-backup-lock", "backup", "post-backup-unlock"].flatMap((script) => [`0 a/${script}`, `1 a/${script}`]),
    );
    expect(readdirSync(join(folder, "into")).sort()).toEqual(["zk-0-a", "zk-1-a"]);
    expect(readFileSync(join(folder, "into/zk-1-a/data"), "utf8")).toBe("of 1");
    for (const each of instances) expect(readdirSync(join(root(each), "/var/vcap/store"))).toEqual([]);
    expect(envs.get("0 a/pre-backup-lock")).toEqual({});
    expect(envs.get("0 a/backup")).toEqual({ BBR_ARTIFACT_DIRECTORY: `${BBR}/a/`, ARTIFACT_DIRECTORY: `${BBR}/a/` });
    expect(envs.get("0 a/post-backup-unlock")).toEqual({ BBR_AFTER_BACKUP_SCRIPTS_SUCCESSFUL: "true" });
  });

  it("locks in tiers and unlocks the other way round", async () => {
    metadata.a = "backup_should_be_locked_before: [{job_name: b, release: rel}, {job_name: absent, release: rel}]";
    metadata.b = "backup_should_be_locked_before: [{job_name: c, release: rel}]";
    await bbrBackup([instance(0, ["c", "b", "a"])], access, join(folder, "into"));
    expect(only("pre-backup-lock")).toEqual(["a", "b", "c"].map((job) => `0 ${job}/pre-backup-lock`));
    expect(only("post-backup-unlock")).toEqual(["c", "b", "a"].map((job) => `0 ${job}/post-backup-unlock`));
  });

  it.each([
    ["a circle", "backup_should_be_locked_before: [{job_name: a, release: rel}]", "cyclic"],
    ["a job without its release", "backup_should_be_locked_before: [{job_name: b}]", "both job name and release"],
    ["no list", "backup_should_be_locked_before: b", "no list"],
    ["no map", "- b", "no map"],
  ])("is refused for metadata with %s, before anything is locked", async (_, text, message) => {
    metadata.a = text;
    await expect(bbrBackup([instance(0, ["a"])], access, join(folder, "into"))).rejects.toThrow(message);
    expect(calls).toEqual([]);
  });

  it("leaves jobs alone that ask for it", async () => {
    metadata.b = "skip_bbr_scripts: true";
    await bbrBackup([instance(0, ["a", "b"])], access, join(folder, "into"));
    expect(calls.filter((call) => call.includes(" b/"))).toEqual([]);
  });

  it("unlocks everything after a lock that fails, and backs nothing up", async () => {
    failing.add("1 a/pre-backup-lock");
    const failed = bbrBackup([instance(0, ["a"]), instance(1, ["a"])], access, join(folder, "into"));
    await expect(failed).rejects.toThrow(BbrError);
    await expect(failed).rejects.toThrow("1 a/pre-backup-lock says why - exit code 3");
    expect(only("backup")).toEqual([]);
    expect(only("post-backup-unlock")).toEqual(["0 a/post-backup-unlock", "1 a/post-backup-unlock"]);
    expect(envs.get("0 a/post-backup-unlock")).toEqual({ BBR_AFTER_BACKUP_SCRIPTS_SUCCESSFUL: "false" });
  });

  it("locks nothing when it is told so", async () => {
    await bbrBackup([instance(0, ["a"])], access, join(folder, "into"), { unsafeLockFree: true });
    expect(calls).toEqual(["0 a/backup"]);
  });

  it("is refused where an earlier one has left its folder, which stays", async () => {
    const there = instance(0, ["a"]);
    mkdirSync(join(root(there), BBR));
    await expect(bbrBackup([there], access, join(folder, "into"))).rejects.toThrow("already exists on instance zk/0");
    expect(calls).toEqual([]);
    expect(readdirSync(join(root(there), "/var/vcap/store"))).toEqual(["bbr-backup"]);
  });

  it("notices a file whose name it cannot check", async () => {
    const run: BbrAccess["run"] = async (on, argv, env) => {
      const ended = await access.run(on, argv, env);
      if (argv[0]?.endsWith("/backup"))
        writeFileSync(join(root(on), env.BBR_ARTIFACT_DIRECTORY ?? "", "two words"), "");
      return ended;
    };
    await expect(bbrBackup([instance(0, ["a"])], { ...access, run }, join(folder, "into"))).rejects.toThrow("zk/0");
  });

  it("is refused for a deployment without scripts", async () => {
    await expect(bbrBackup([instance(0, [])], access, join(folder, "into"))).rejects.toThrow("no backup scripts");
  });
});

describe("a restore by BBR", () => {
  const backedUp = async (instances: readonly BbrInstance[]): Promise<string> => {
    await bbrBackup(instances, access, join(folder, "into"));
    calls = [];
    return join(folder, "into");
  };

  it("gives each instance what was its own", async () => {
    const instances = [instance(0, ["a"]), instance(1, ["a"])];
    await bbrRestore(instances, access, await backedUp(instances));
    expect(calls).toEqual([
      "0 a/pre-restore-lock",
      "1 a/pre-restore-lock",
      "0 a/restore",
      "0 has of 0",
      "1 a/restore",
      "1 has of 1",
      "0 a/post-restore-unlock",
      "1 a/post-restore-unlock",
    ]);
  });

  it("gives all instances that of the bootstrap one with backup_one_restore_all", async () => {
    const instances = [0, 1].map((index) => instance(index, ["a"], { backupOneRestoreAll: true }));
    const from = await backedUp(instances);
    expect(readdirSync(from).sort()).toEqual(["a-rel-backup-one-restore-all", "zk-1-a"]);
    await bbrRestore(instances, access, from);
    expect(calls.filter((call) => call.includes("has"))).toEqual(["0 has of 0", "1 has of 0"]);
    expect(envs.get("1 a/restore")?.BBR_ARTIFACT_DIRECTORY).toBe(`${BBR}/a-rel-backup-one-restore-all/`);
  });

  it.each([
    ["a lock", "0 a/pre-restore-lock", []],
    ["a restore", "0 a/restore", ["0 a/restore"]],
  ])("unlocks everything after %s that fails, and restores no more", async (_, call, restored) => {
    const instances = [instance(0, ["a"]), instance(1, ["a"])];
    const from = await backedUp(instances);
    failing.add(call);
    await expect(bbrRestore(instances, access, from)).rejects.toThrow("says why");
    expect(only("restore")).toEqual(restored);
    expect(only("post-restore-unlock")).toEqual(["0 a/post-restore-unlock", "1 a/post-restore-unlock"]);
    for (const each of instances) expect(readdirSync(join(root(each), "/var/vcap/store"))).toEqual([]);
  });

  it("is cleaned up by unlocking once more", async () => {
    const there = instance(0, ["a"]);
    mkdirSync(join(root(there), BBR));
    await bbrRestoreCleanup([there], access);
    expect(calls).toEqual(["0 a/post-restore-unlock"]);
    expect(readdirSync(join(root(there), "/var/vcap/store"))).toEqual([]);
  });
});
