import { execFile } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdir, readdir, readFile } from "node:fs/promises";
import { join, relative } from "node:path";
import { promisify } from "node:util";
import { parse } from "yaml";
import type { Ended, Machine } from "./stemcell.ts";

/** An instance of a deployment, as BBR gets to know it from the Director. */
export interface BbrInstance {
  readonly group: string;
  readonly index: number;
  readonly bootstrap: boolean;
  /** Of each job in the manifest, what BBR looks up there. */
  readonly jobs: readonly { readonly name: string; readonly release: string; readonly backupOneRestoreAll?: boolean }[];
}

/** How BBR reaches instances: over ssh, as root. */
export interface BbrAccess {
  /** Runs a program with this environment and nothing else but a PATH. */
  run(instance: BbrInstance, argv: readonly string[], env: Readonly<Record<string, string>>): Promise<Ended>;
  /** Copies what is in a folder of the instance into a folder here. */
  download(instance: BbrInstance, from: string, to: string): Promise<void>;
  /** The other way round. */
  upload(instance: BbrInstance, from: string, to: string): Promise<void>;
}

/** One or more steps have failed; each with what the script said on stderr. */
export class BbrError extends Error {
  readonly errors: readonly string[];

  constructor(errors: readonly string[]) {
    super(errors.join("\n"));
    this.errors = errors;
  }
}

const ARTIFACTS = "/var/vcap/store/bbr-backup";
const SCRIPT =
  /^\/var\/vcap\/jobs\/([^/]+)\/bin\/bbr\/(metadata|pre-backup-lock|backup|post-backup-unlock|pre-restore-lock|restore|post-restore-unlock)$/;

type Constraint = "backup_should_be_locked_before" | "restore_should_be_locked_before";
type Script =
  | "pre-backup-lock"
  | "backup"
  | "post-backup-unlock"
  | "pre-restore-lock"
  | "restore"
  | "post-restore-unlock";

interface Job {
  readonly instance: BbrInstance;
  readonly name: string;
  readonly release: string;
  readonly isOneForAll: boolean;
  readonly scripts: ReadonlySet<string>;
  readonly lockedBefore: Readonly<
    Record<Constraint, readonly { readonly job_name: string; readonly release: string }[]>
  >;
}

/**
 * `bbr deployment backup`, after the source of version 1.9.81, into the folder `into`, which must not exist. Locks of a tier
 * and backups run at the same time.
 *
 * @throws BbrError after all unlocks
 */
export async function bbrBackup(
  instances: readonly BbrInstance[],
  access: BbrAccess,
  into: string,
  { unsafeLockFree = false }: { readonly unsafeLockFree?: boolean } = {},
): Promise<void> {
  const jobs = await findJobs(instances, access);
  const backedUp = jobs.filter(({ scripts }) => scripts.has("backup"));
  if (backedUp.length === 0) throw new BbrError(["the deployment has no backup scripts"]);
  const tiers = inTiers(jobs, "backup_should_be_locked_before");
  await refuseLeftovers(instances, access);
  await mkdir(into);

  const errors: string[] = [];
  if (!unsafeLockFree) errors.push(...(await together(tiers, (job) => script(access, job, "pre-backup-lock"))));
  if (errors.length === 0) {
    errors.push(
      ...(await together([backedUp], async (job) => {
        const folder = `${ARTIFACTS}/${artifactOfBackup(job)}`;
        await must(access, job.instance, ["mkdir", "-p", folder]);
        await script(access, job, "backup", artifactVariables(folder));
      })),
    );
  }
  const isGood = errors.length === 0;
  if (!unsafeLockFree) {
    const env = { BBR_AFTER_BACKUP_SCRIPTS_SUCCESSFUL: String(isGood) };
    errors.push(...(await together(tiers.toReversed(), (job) => script(access, job, "post-backup-unlock", env))));
  }
  if (isGood) {
    errors.push(
      ...(await together([backedUp], async (job) => {
        const folder = `${ARTIFACTS}/${artifactOfBackup(job)}`;
        const local = join(into, localName(job, artifactOfBackup(job)));
        // Not `recursive`: two artifacts of one name are an error.
        await mkdir(local);
        await access.download(job.instance, folder, local);
        await compareChecksums(access, job.instance, folder, local);
      })),
    );
  }
  errors.push(...(await removeArtifacts(instances, access)));
  if (errors.length > 0) throw new BbrError(errors);
}

/**
 * `bbr deployment restore` of what {@link bbrBackup} has left in `from`. One script after the other; a restore that fails
 * keeps the later ones from being tried.
 *
 * @throws BbrError after all unlocks
 */
export async function bbrRestore(instances: readonly BbrInstance[], access: BbrAccess, from: string): Promise<void> {
  const jobs = await findJobs(instances, access);
  const restored = jobs.filter(({ scripts }) => scripts.has("restore"));
  if (restored.length === 0) throw new BbrError(["the deployment has no restore scripts"]);
  const tiers = inTiers(jobs, "restore_should_be_locked_before");
  await refuseLeftovers(instances, access);

  const errors = await together([restored], async (job) => {
    const folder = `${ARTIFACTS}/${artifactOfRestore(job)}`;
    const local = join(from, localName(job, artifactOfRestore(job)));
    await must(access, job.instance, ["mkdir", "-p", folder]);
    await access.upload(job.instance, local, folder);
    await compareChecksums(access, job.instance, folder, local);
  });
  if (errors.length === 0) {
    errors.push(...(await oneByOne(tiers.flat(), (job) => script(access, job, "pre-restore-lock"))));
    if (errors.length === 0) {
      const restore = (job: Job): Promise<void> =>
        script(access, job, "restore", artifactVariables(`${ARTIFACTS}/${artifactOfRestore(job)}`));
      errors.push(...(await oneByOne(restored, restore, "until one fails")));
    }
    errors.push(...(await unlockAfterRestore(tiers, access)));
  }
  errors.push(...(await removeArtifacts(instances, access)));
  if (errors.length > 0) throw new BbrError(errors);
}

/**
 * `bbr deployment restore-cleanup`, after a restore that was cut off.
 *
 * @throws BbrError
 */
export async function bbrRestoreCleanup(instances: readonly BbrInstance[], access: BbrAccess): Promise<void> {
  const jobs = await findJobs(instances, access);
  const errors = await unlockAfterRestore(inTiers(jobs, "restore_should_be_locked_before"), access);
  errors.push(...(await removeArtifacts(instances, access)));
  if (errors.length > 0) throw new BbrError(errors);
}

/** BBR's way to machines of this computer. Owners and modes come along, as with tar. */
export function machineAccess(machineOf: (instance: BbrInstance) => Machine): BbrAccess {
  const copy = promisify(execFile);
  const seenFromHere = (instance: BbrInstance, path: string): string =>
    join(machineOf(instance).vcap, relative("/var/vcap", path));
  return {
    run: (instance, argv, env) => machineOf(instance).run(argv, { env }),
    async download(instance, from, to) {
      await copy("cp", ["-a", `${seenFromHere(instance, from)}/.`, to]);
    },
    async upload(instance, from, to) {
      await copy("cp", ["-a", `${from}/.`, seenFromHere(instance, to)]);
    },
  };
}

function unlockAfterRestore(tiers: readonly (readonly Job[])[], access: BbrAccess): Promise<string[]> {
  return oneByOne(tiers.toReversed().flat(), (job) => script(access, job, "post-restore-unlock"));
}

async function findJobs(instances: readonly BbrInstance[], access: BbrAccess): Promise<Job[]> {
  const found: Job[] = [];
  for (const instance of instances) {
    const { code, stdout, stderr } = await access.run(
      instance,
      ["sh", "-c", "find /var/vcap/jobs/*/bin/bbr/* -type f"],
      {},
    );
    if (code !== 0 && !stderr.includes("No such file or directory")) throw new BbrError([stderr]);
    const scripts = new Map<string, Set<string>>();
    for (const path of stdout.split("\n")) {
      const [, job, name] = SCRIPT.exec(path) ?? [];
      if (job === undefined || name === undefined) continue;
      scripts.set(job, (scripts.get(job) ?? new Set()).add(name));
    }
    for (const [name, names] of scripts) {
      const metadata = names.has("metadata") ? await readMetadata(access, instance, name) : {};
      if (metadata.skip_bbr_scripts === true) continue;
      const known = instance.jobs.find((job) => job.name === name);
      found.push({
        instance,
        name,
        release: known?.release ?? "",
        isOneForAll: known?.backupOneRestoreAll === true,
        scripts: names,
        lockedBefore: {
          backup_should_be_locked_before: specifiers(metadata, "backup_should_be_locked_before"),
          restore_should_be_locked_before: specifiers(metadata, "restore_should_be_locked_before"),
        },
      });
    }
  }
  return found;
}

async function readMetadata(
  access: BbrAccess,
  instance: BbrInstance,
  job: string,
): Promise<Readonly<Record<string, unknown>>> {
  const path = `/var/vcap/jobs/${job}/bin/bbr/metadata`;
  const { stdout } = await must(access, instance, [path], { BBR_VERSION: "1.9.81" });
  const metadata: unknown = parse(stdout) ?? {};
  if (typeof metadata !== "object" || Array.isArray(metadata)) throw new BbrError([`${path} prints no map`]);
  return metadata as Readonly<Record<string, unknown>>;
}

function specifiers(
  metadata: Readonly<Record<string, unknown>>,
  name: Constraint,
): { job_name: string; release: string }[] {
  const given = metadata[name] ?? [];
  if (!Array.isArray(given)) throw new BbrError([`${name} is no list`]);
  for (const each of given) {
    if (!each?.job_name || !each?.release) {
      throw new BbrError(["both job name and release should be specified for should be locked before"]);
    }
  }
  return given;
}

/** Jobs that may be locked at the same time, in the order of their locks. */
function inTiers(jobs: readonly Job[], constraint: Constraint): Job[][] {
  const tiers: Job[][] = [];
  for (let left = [...jobs]; left.length > 0; ) {
    const isBlocked = (job: Job): boolean =>
      left.some((other) =>
        other.lockedBefore[constraint].some((after) => after.job_name === job.name && after.release === job.release),
      );
    const tier = left.filter((job) => !isBlocked(job));
    if (tier.length === 0) throw new BbrError(["job locking dependency graph is cyclic"]);
    tiers.push(tier);
    left = left.filter((job) => !tier.includes(job));
  }
  return tiers;
}

async function refuseLeftovers(instances: readonly BbrInstance[], access: BbrAccess): Promise<void> {
  const errors = await together([instances], async (instance) => {
    const { code } = await access.run(instance, ["stat", ARTIFACTS], {});
    if (code === 0) throw new Error(`Directory ${ARTIFACTS} already exists on instance ${nameOf(instance)}`);
  });
  if (errors.length > 0) throw new BbrError(errors);
}

function removeArtifacts(instances: readonly BbrInstance[], access: BbrAccess): Promise<string[]> {
  return together([instances], async (instance) => {
    await must(access, instance, ["rm", "-rf", ARTIFACTS]);
  });
}

const artifactOfBackup = (job: Job): string => (job.isOneForAll && job.instance.bootstrap ? sharedName(job) : job.name);
const artifactOfRestore = (job: Job): string => (job.isOneForAll ? sharedName(job) : job.name);
const sharedName = (job: Job): string => `${job.name}-${job.release}-backup-one-restore-all`;
const localName = (job: Job, artifact: string): string =>
  artifact === sharedName(job) ? artifact : `${job.instance.group}-${job.instance.index}-${artifact}`;
const nameOf = ({ group, index }: BbrInstance): string => `${group}/${index}`;
const artifactVariables = (folder: string): Record<string, string> => ({
  BBR_ARTIFACT_DIRECTORY: `${folder}/`,
  ARTIFACT_DIRECTORY: `${folder}/`,
});

/** Runs a script of a job, if it has it. */
async function script(access: BbrAccess, job: Job, name: Script, env: Record<string, string> = {}): Promise<void> {
  if (!job.scripts.has(name)) return;
  await must(access, job.instance, [`/var/vcap/jobs/${job.name}/bin/bbr/${name}`], env);
}

async function must(
  access: BbrAccess,
  instance: BbrInstance,
  argv: readonly string[],
  env: Readonly<Record<string, string>> = {},
): Promise<Ended> {
  const ended = await access.run(instance, argv, env);
  if (ended.code === 0) return ended;
  throw new Error(`${nameOf(instance)}: ${argv.join(" ")}: ${ended.stderr.trim()} - exit code ${ended.code}`);
}

/** What goes wrong; all of a tier are tried, and every tier, as BBR does it. */
async function together<T>(tiers: readonly (readonly T[])[], work: (each: T) => Promise<void>): Promise<string[]> {
  const errors: string[] = [];
  for (const tier of tiers) {
    const ended = await Promise.allSettled(tier.map(work));
    for (const each of ended) if (each.status === "rejected") errors.push((each.reason as Error).message);
  }
  return errors;
}

async function oneByOne(
  jobs: readonly Job[],
  work: (job: Job) => Promise<void>,
  until: "all were tried" | "until one fails" = "all were tried",
): Promise<string[]> {
  const errors: string[] = [];
  for (const job of jobs) {
    try {
      await work(job);
    } catch (error) {
      errors.push((error as Error).message);
      if (until === "until one fails") break;
    }
  }
  return errors;
}

async function compareChecksums(
  access: BbrAccess,
  instance: BbrInstance,
  folder: string,
  local: string,
): Promise<void> {
  const { stdout } = await must(access, instance, ["sh", "-c", `cd ${folder} && find . -type f | xargs shasum -a 256`]);
  const there = stdout.split("\n").filter((line) => line !== "" && !line.endsWith(" -"));
  const entries = await readdir(local, { recursive: true, withFileTypes: true });
  const here = await Promise.all(
    entries
      .filter((entry) => entry.isFile())
      .map(async (entry) => {
        const path = join(entry.parentPath, entry.name);
        const sha256 = createHash("sha256")
          .update(await readFile(path))
          .digest("hex");
        return `${sha256}  ./${relative(local, path)}`;
      }),
  );
  if (there.toSorted().join("\n") !== here.toSorted().join("\n")) {
    throw new Error(`${nameOf(instance)}: backup is corrupted, checksums of ${folder} do not match`);
  }
}
