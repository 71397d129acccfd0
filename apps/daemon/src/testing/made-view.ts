import { BackypError, backupId, type Manifest } from "@zk-backyp/core";
import { EventEmitter } from "eventemitter3";
import { UNREADABLE } from "../daemon/backup-list.ts";
import type {
  BackupSummary,
  CurrentRun,
  DaemonEvents,
  DaemonStatus,
  DaemonView,
  Health,
  RunKind,
  RunRecord,
  SeriesStatus,
  SeriesView,
} from "../daemon/daemon-view.ts";

/** What a made series looks like. */
export interface MadeSeriesOptions {
  readonly name: string;
  /** Default: `ok`. */
  readonly health?: Health;
  /** How many the sink holds, one a day. Default: 30, or none if `unknown`. */
  readonly backups?: number;
  /** How many runs are remembered. Default: 20, or none if `unknown`. */
  readonly runs?: number;
  /** Something is under way. */
  readonly running?: RunKind;
  /** Default: not elected at all. */
  readonly election?: "elected" | "waiting" | "unreachable";
  /** Each backup stops the server. Default: false. */
  readonly cold?: boolean;
  /** Every tenth backup is damaged, every 15th cannot be read. Default: false. */
  readonly spoilt?: boolean;
  /** Fields of the status that shall be others. */
  readonly status?: Partial<SeriesStatus>;
}

/** A daemon for tests that runs nothing: what it shows is made up, and changed by the methods. */
export interface MadeView extends DaemonView {
  /** Replaces fields of a series' status and tells of it. */
  change(series: string, fields: Partial<Omit<SeriesStatus, "name">>): void;
  /** Replaces fields of the daemon's own status and tells of it. */
  changeDaemon(fields: Partial<Omit<DaemonStatus, "series">>): void;
  /** Begins a run and tells of it. */
  startRun(series: string, fields?: Partial<CurrentRun>): CurrentRun;
  /** Ends what is under way, or a run that nobody saw, and tells of it. An `ok` backup adds one to the sink. */
  endRun(series: string, fields?: Partial<RunRecord>): RunRecord;
  /** Makes every look into the series' sink fail with this from now on; null heals it. */
  failSink(series: string, error: Error | null): void;
  /** Puts others in the place of all series, as a reload does, and tells of it. */
  reload(series: readonly MadeSeriesOptions[]): void;
}

/** The moment at which made views are looked at. */
export const MADE_NOW: Date = new Date("2026-11-22T12:00:00.000Z");

/** One series of each kind: every health, running, elected, cold, spoilt, another node's. */
export const EVERY_KIND: readonly MadeSeriesOptions[] = [
  { name: "good" },
  { name: "failing", health: "failing" },
  { name: "stale", health: "stale", cold: true },
  { name: "new", health: "unknown" },
  { name: "running", running: "backup" },
  { name: "verifying", running: "verify" },
  { name: "elected", election: "elected" },
  { name: "waiting", election: "waiting" },
  { name: "unreachable", election: "unreachable", health: "failing" },
  { name: "cold", cold: true },
  { name: "spoilt", spoilt: true },
  {
    name: "elsewhere",
    status: { runOn: "zk-3", notHere: "it runs on the host zk-3 (runOn), and this is zk-1", next: null },
  },
];

const DAY_MS = 86_400_000;
const SINK_FULL = {
  code: "ERR_SINK_FULL",
  message: "cannot write /backups/failing/archives/failing.tar.gz: no space left (ENOSPC)",
  remedy: "Make room in the store, or let `retention` keep less.",
} as const;

/** @param now when it is looked at; all times in it are before or, of what is next, after */
export function madeView(series: readonly MadeSeriesOptions[] = EVERY_KIND, now: Date = MADE_NOW): MadeView {
  const events = new EventEmitter<DaemonEvents>();
  let made = series.map((options) => new MadeSeries(options, now, events));
  let daemon: Omit<DaemonStatus, "series"> = {
    version: "1.2.3",
    host: "zk-1",
    startedAt: new Date(now.getTime() - 40 * DAY_MS).toISOString(),
    state: "running",
    hold: null,
    config: {
      path: "/etc/zk-backyp/zk-backyp.config.yaml",
      loadedAt: new Date(now.getTime() - 40 * DAY_MS).toISOString(),
      refused: null,
    },
  };
  const changeDaemon: MadeView["changeDaemon"] = (fields) => {
    daemon = { ...daemon, ...fields };
    for (const one of made) one.heldUntil = daemon.hold?.until ?? null;
    events.emit("changed", null);
  };
  const find = (name: string): MadeSeries => {
    const found = made.find((one) => one.name === name);
    if (found === undefined) throw new Error(`there is no made series ${name}`);
    return found;
  };
  return {
    events,
    status: () => ({ ...daemon, series: made.map((one) => one.status()) }),
    series: () => made,
    change: (name, fields) => find(name).change(fields),
    changeDaemon,
    hold({ abort, seconds }) {
      const isBusy = made.some((one) => one.status().current !== null);
      const until = new Date(now.getTime() + seconds * 1000).toISOString();
      changeDaemon({
        state: isBusy ? "holding" : "held",
        hold: { since: now.toISOString(), until, abort, problem: null },
      });
    },
    release: () => changeDaemon({ state: "running", hold: null }),
    startRun: (name, fields = {}) => find(name).start(fields),
    endRun: (name, fields = {}) => find(name).end(fields),
    failSink: (name, error) => {
      find(name).sinkError = error;
    },
    reload(others) {
      made = others.map((options) => new MadeSeries(options, now, events));
      events.emit("changed", null);
    },
  };
}

class MadeSeries implements SeriesView {
  readonly name: string;
  sinkError: Error | null = null;
  heldUntil: string | null = null;
  readonly #now: Date;
  readonly #events: EventEmitter<DaemonEvents>;
  #status: SeriesStatus;
  #runs: readonly RunRecord[];
  #backups: readonly BackupSummary[];
  #runCount = 0;

  constructor(options: MadeSeriesOptions, now: Date, events: EventEmitter<DaemonEvents>) {
    const { name, health = "ok", election, running, cold = false } = options;
    const isNew = health === "unknown";
    this.name = name;
    this.#now = now;
    this.#events = events;
    // A stale series has had no backup for five days.
    const age = health === "stale" ? 5 : health === "failing" ? 1 : 0;
    this.#backups = Array.from({ length: options.backups ?? (isNew ? 0 : 30) }, (_, index) =>
      this.#madeBackup(index + age, { cold, spoilt: options.spoilt ?? false }),
    );
    const isBad = health === "failing" || health === "stale";
    this.#runs = Array.from({ length: options.runs ?? (isNew ? 0 : 20) }, (_, index) =>
      index < Math.max(age, isBad ? 1 : 0) ? this.#madeFailure(index) : this.#madeRun(index, cold),
    );
    const newest = this.#backups.find(({ verified }) => verified);
    this.#status = {
      name,
      prefix: name,
      source: "zookeeper",
      sink: `file:/backups/${name}`,
      mode: cold ? "cold" : "hot",
      schedule: "every 24 h",
      runOn: election === undefined ? "always" : "elected",
      notHere: null,
      health,
      healthText: HEALTH_TEXT[health],
      election:
        election === undefined
          ? null
          : {
              state: election,
              since: this.#at(-3 * DAY_MS),
              holder: election === "elected" ? "zk-1" : election === "waiting" ? "zk-2" : null,
              problem: election === "unreachable" ? "cannot reach ZooKeeper at 127.0.0.1:2181: ECONNREFUSED" : null,
            },
      next:
        running === undefined
          ? { slot: this.#at(DAY_MS / 2), at: this.#at(DAY_MS / 2 + 30_000), trigger: isBad ? "retry" : "schedule" }
          : null,
      current: running === undefined ? null : this.#madeCurrent({ kind: running }),
      lastRun: this.#runs[0] ?? null,
      failuresInARow: this.#runs.findIndex(({ outcome }) => outcome === "ok"),
      lastGood: newest === undefined ? null : { id: newest.id, startedAt: newest.startedAt, upToTime: newest.upToTime },
      staleAt: newest === undefined ? null : new Date(Date.parse(newest.startedAt) + 2 * DAY_MS).toISOString(),
      lastVerified: newest?.verifiedAt ? { id: newest.id, at: newest.verifiedAt } : null,
      totals: isNew ? null : this.#totals(),
      ...options.status,
    };
    if (this.#status.failuresInARow < 0) this.#status = { ...this.#status, failuresInARow: 0 };
  }

  status(): SeriesStatus {
    return this.#status;
  }

  runs(): readonly RunRecord[] {
    return this.#runs;
  }

  async backups(): Promise<readonly BackupSummary[]> {
    if (this.sinkError !== null) throw this.sinkError;
    return this.#backups;
  }

  async backup(id: string): Promise<Manifest> {
    if (this.sinkError !== null) throw this.sinkError;
    return this.#manifest(this.#find(id));
  }

  runNow(): CurrentRun {
    this.#requireIdle();
    return this.start({ kind: "backup", trigger: "request" });
  }

  verifyNow(id: string): CurrentRun {
    this.#requireIdle();
    // Which one, and whether there is one, is found out by the run.
    return this.start({ kind: "verify", trigger: "request", backupId: id === "latest" ? null : id });
  }

  change(fields: Partial<SeriesStatus>): void {
    this.#status = { ...this.#status, ...fields };
    this.#events.emit("changed", this.name);
  }

  start(fields: Partial<CurrentRun>): CurrentRun {
    const current = this.#madeCurrent(fields);
    this.#status = { ...this.#status, current, next: null };
    this.#events.emit("run:start", this.name, current);
    this.#events.emit("changed", this.name);
    return current;
  }

  end(fields: Partial<RunRecord>): RunRecord {
    const {
      bytes: _bytes,
      totalBytes: _totalBytes,
      step: _step,
      ...current
    } = this.#status.current ?? this.#madeCurrent({});
    const record: RunRecord = { ...this.#madeRun(0, this.#status.mode === "cold"), ...current, ...fields };
    this.#runs = [record, ...this.#runs].slice(0, 200);
    const isGood = record.kind === "backup" && record.outcome === "ok" && record.backupId !== null;
    if (isGood) {
      const made = this.#madeBackup(0, { cold: this.#status.mode === "cold", spoilt: false });
      this.#backups = [{ ...made, id: record.backupId ?? made.id, startedAt: record.startedAt }, ...this.#backups];
    }
    const hasFailed = record.outcome === "failed" || record.outcome === "damaged";
    const health: Health = hasFailed ? "failing" : isGood ? "ok" : this.#status.health;
    this.#status = {
      ...this.#status,
      current: null,
      lastRun: record,
      next: { slot: this.#at(DAY_MS / 2), at: this.#at(DAY_MS / 2), trigger: hasFailed ? "retry" : "schedule" },
      failuresInARow: hasFailed ? this.#status.failuresInARow + 1 : isGood ? 0 : this.#status.failuresInARow,
      lastGood: isGood
        ? { id: record.backupId ?? "", startedAt: record.startedAt, upToTime: record.startedAt }
        : this.#status.lastGood,
      health,
      healthText: HEALTH_TEXT[health],
      totals: this.#totals(),
    };
    this.#events.emit("run:end", this.name, record);
    this.#events.emit("changed", this.name);
    return record;
  }

  #at(offsetMs: number): string {
    return new Date(this.#now.getTime() + offsetMs).toISOString();
  }

  #requireIdle(): void {
    if (this.heldUntil !== null) throw new BackypError("ERR_HELD", `the daemon is held until ${this.heldUntil}`);
    const { current } = this.#status;
    if (current === null) return;
    throw new BackypError("ERR_BUSY", `a ${current.kind} of ${this.name} is under way: wait until it has ended`);
  }

  #find(id: string): BackupSummary {
    const found = id === "latest" ? this.#backups[0] : this.#backups.find((one) => one.id === id);
    if (found !== undefined) return found;
    throw new BackypError("ERR_BACKUP_NOT_FOUND", `the series ${this.name} has no backup ${id}`);
  }

  #totals(): SeriesStatus["totals"] {
    return {
      backups: this.#backups.length,
      bytes: this.#backups.reduce((sum, { bytes }) => sum + bytes, 0),
      damaged: this.#backups.filter(({ verified }) => !verified).length,
      seenAt: this.#at(-5_000),
    };
  }

  #madeCurrent(fields: Partial<CurrentRun>): CurrentRun {
    const startedAt = this.#at(-60_000);
    return {
      runId: `run-${this.name}-now-${this.#runCount++}`,
      kind: "backup",
      trigger: "schedule",
      slot: fields.trigger === "request" ? null : startedAt,
      startedAt,
      backupId: backupId(this.name, new Date(startedAt)),
      bytes: 12_000_000,
      totalBytes: 48_000_000,
      step: this.#status?.mode === "cold" ? "linked" : null,
      ...fields,
    };
  }

  #madeRun(daysAgo: number, cold: boolean): RunRecord {
    const startedAt = this.#at(-daysAgo * DAY_MS - DAY_MS / 2);
    const durationMs = 4_000 + ((daysAgo * 737) % 3_000);
    return {
      runId: `run-${this.name}-${daysAgo}`,
      kind: "backup",
      trigger: daysAgo % 9 === 8 ? "catch-up" : "schedule",
      slot: startedAt,
      startedAt,
      finishedAt: new Date(Date.parse(startedAt) + durationMs).toISOString(),
      durationMs,
      outcome: "ok",
      backupId: backupId(this.name, new Date(startedAt)),
      bytes: madeBytes(daysAgo),
      downtimeMs: cold ? 2_500 + ((daysAgo * 313) % 2_000) : null,
      message: "backed up and verified",
      error: null,
    };
  }

  #madeFailure(daysAgo: number): RunRecord {
    return {
      ...this.#madeRun(daysAgo, false),
      trigger: "retry",
      outcome: "failed",
      bytes: null,
      message: SINK_FULL.message,
      error: SINK_FULL,
    };
  }

  #madeBackup(daysAgo: number, { cold, spoilt }: { readonly cold: boolean; readonly spoilt: boolean }): BackupSummary {
    const { backupId: id, startedAt, finishedAt, downtimeMs } = this.#madeRun(daysAgo, cold);
    const beside = {
      id: id ?? "",
      pinned: daysAgo % 20 === 7 ? "pinned until 2027-06-30T23:59:59.999Z (before the upgrade to 3.9)" : null,
      restoreCommand: `zk-backyp restore ${id} --config /etc/zk-backyp/zk-backyp.config.yaml --series ${this.name} --to /var/lib/zookeeper-restored`,
    };
    if (spoilt && daysAgo % 15 === 14) {
      return {
        ...UNREADABLE,
        ...beside,
        problem: `the manifest ${this.name}/manifests/${id}.json is not valid: it is not JSON`,
      };
    }
    return {
      ...beside,
      startedAt,
      finishedAt,
      downtimeMs,
      bytes: madeBytes(daysAgo),
      plainBytes: 3 * madeBytes(daysAgo),
      upTo: `0x${(0x1a00000000 + (this.#now.getTime() - daysAgo * DAY_MS) / 1_000).toString(16)}`,
      upToTime: startedAt,
      verified: !(spoilt && daysAgo % 10 === 4),
      verifiedAt: daysAgo % 4 === 0 ? finishedAt : null,
      problem: null,
    };
  }

  #manifest({ id, startedAt, finishedAt, bytes, plainBytes, upTo, verified, problem }: BackupSummary): Manifest {
    if (problem !== null) throw new BackypError("ERR_MANIFEST_INVALID", problem);
    const sha256 = "0123456789abcdef".repeat(4);
    return {
      formatVersion: 1,
      id,
      prefix: this.name,
      kind: "full",
      source: "zookeeper",
      range: { after: null, upTo },
      times: { from: startedAt, upTo: startedAt },
      startedAt,
      finishedAt,
      archive: { key: `${this.name}/archives/${id}.tar.gz`, size: bytes, sha256, format: "tar", codecs: ["gzip"] },
      entries: [{ path: "version-2/snapshot.1a00000000", size: plainBytes, sha256 }],
      facts: { host: "zk-1" },
      contents: { nodeCount: 12_345 },
      proof: null,
      problems: verified
        ? []
        : [
            {
              severity: "data-loss",
              code: "LOG_TORN_TAIL",
              file: "version-2/log.1a00000001",
              offset: 4_096,
              message: "a transaction is cut off",
            },
          ],
      verified,
      tool: { name: "zk-backyp", version: "1.2.3" },
    };
  }
}

const HEALTH_TEXT: Readonly<Record<Health, string>> = {
  ok: "The newest good backup is 12 hours old.",
  failing: `The last backup failed: ${SINK_FULL.message}. The newest good backup is 36 hours old.`,
  stale: `The newest good backup is 5 days old, and a newer one should be there: ${SINK_FULL.message}`,
  unknown: "The store was not looked at yet.",
};

/** Sizes that grow towards today, with some noise that is always the same. */
function madeBytes(daysAgo: number): number {
  return Math.max(1_000, 48_000_000 - daysAgo * 90_000 + ((daysAgo * 7_919) % 500_000));
}
