import { randomUUID } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import {
  abortError,
  BackypError,
  type Candidacy,
  cronSchedule,
  type ErrorCode,
  intervalSchedule,
  isBackypError,
  type Manifest,
  type PlannedRun,
  parseDuration,
  after as pointAfter,
  type Schedule,
  type Scheduler,
  startScheduler,
  timeOfBackupId,
} from "@zk-backyp/core";
import type { EventEmitter } from "eventemitter3";
import type { ScheduleConfig, SeriesConfig } from "../config.ts";
import type { OpenedSeries } from "../open-series.ts";
import { takeRunLock } from "../run-lock.ts";
import { BackupList, downtimeOf } from "./backup-list.ts";
import type {
  BackupSummary,
  CurrentRun,
  DaemonEvents,
  NextRun,
  Outcome,
  RunKind,
  RunRecord,
  SeriesStatus,
  SeriesView,
  Trigger,
} from "./daemon-view.ts";
import { electionStatus, type Placement, placeSeries } from "./election.ts";
import { healthOf } from "./health.ts";
import type { DaemonLogger } from "./log.ts";
import { runErrorOf } from "./remedies.ts";
import type { RunHistory } from "./run-history.ts";
import type { Turns } from "./turns.ts";

/** As the origin had it. */
const DEFAULT_SCHEDULE: ScheduleConfig = { interval: 86_400 };
/** A backup that is late by less is not missed. */
const LATE_MS = 3_600_000;
/** How often the sink is looked at while nothing runs: other daemons, and people, change it too. */
const LOOK_INTERVAL_MS = 300_000;
/** How often it is seen that time has passed: a series becomes stale by itself. */
const TICK_MS = 10_000;

/** What clocks of different nodes may differ by. */
const CLOCKS_DIFFER_MS = 300_000;
/** Before that nobody knows whether the election is down or was just not reached yet. */
const ELECTION_DOWN_MS = 60_000;
/** Whose daemon was elected before may be going down just now, and its server with it: no other one is stopped so long. */
const HANDED_OVER_MS = 30_000;

/** What a runner is made of. Closing it closes the series. */
export interface SeriesRunnerOptions {
  readonly name: string;
  readonly config: SeriesConfig;
  readonly opened: OpenedSeries;
  readonly history: RunHistory;
  /** Its lines have the field `series`. */
  readonly logger: DaemonLogger;
  readonly events: EventEmitter<DaemonEvents>;
  readonly host: string;
  /** Shared with the other series: runs wait for theirs. */
  readonly turns: Turns;
  /** While the daemon is held, until when that is: nothing begins. Else null. */
  readonly heldUntil: () => string | null;
  /** The command line that restores a backup. */
  readonly restoreCommand: (id: string) => string;
}

/** What a run came to: how its record ends. */
interface Ending {
  readonly outcome: Outcome;
  readonly message: string;
  readonly backupId?: string | null;
  readonly bytes?: number;
  readonly downtimeMs?: number | null;
}

/** Runs one series: on its schedule, where and when it may, one run at a time; and knows how it is. */
export class SeriesRunner implements SeriesView {
  readonly name: string;
  readonly #options: SeriesRunnerOptions;
  readonly #schedule: Schedule;
  readonly #list: BackupList;
  readonly #closing: AbortController = new AbortController();
  readonly #startedAt: Date = new Date();
  readonly #schedulers: { backup?: Scheduler; verify?: Scheduler } = {};
  #placement: Placement = { runOn: "always", notHere: null, isOpen: false, candidacy: null };
  #current: CurrentRun | null = null;
  /** Aborts the run that is under way. */
  #interrupt: AbortController = new AbortController();
  /** Whether the run that is under way has not begun with its work, since others are at theirs. */
  #isWaiting = false;
  /** While {@link recover} is at it. */
  #recovering: Promise<string | null> | null = null;
  /** While {@link #placeAgain} is at it. */
  #placing: Promise<void> | null = null;
  /** What the election was when it changed last. */
  #electionState: Candidacy["state"] = "unreachable";
  /** Whether it was elected in the place of another one. */
  #hasTakenOver = false;
  /** Resolves when the run that is under way has ended. */
  #ended: Promise<void> = Promise.resolve();
  /** What the source said when it skipped the run that is under way. */
  #skipped: { readonly reason: string; readonly message: string } | null = null;
  /** The plan of the last run, which is over but may still be there for a moment. */
  #overPlan: PlannedRun | null = null;
  #lastHealth: string = "";
  #isStarted = false;
  #retired = false;
  #saidOfSink: string | null = null;
  #working: Promise<void> = Promise.resolve();
  #closed: Promise<void> | null = null;

  constructor(options: SeriesRunnerOptions) {
    this.#options = options;
    this.name = options.name;
    this.#schedule = scheduleOf(options.config.schedule ?? DEFAULT_SCHEDULE);
    const beside = {
      verifiedAt: (id: string) => options.history.verifiedAt(id),
      restoreCommand: options.restoreCommand,
    };
    this.#list = new BackupList(options.opened.series, beside, this.#closing.signal);
    this.#follow();
  }

  /**
   * Finds out where the series runs, and stands for election if it has to. Before {@link start}.
   *
   * @throws BackypError `ERR_CONFIG_INVALID`
   */
  async place(): Promise<void> {
    const { opened, config, host, logger } = this.#options;
    const { signal } = this.#closing;
    const before = this.#placement.notHere;
    const isHeld = this.#isHeld;
    this.#placement = await placeSeries(config, opened.source, opened.prefix, { host, isHeld, logger, signal });
    const { notHere, candidacy } = this.#placement;
    if (notHere !== null && notHere !== before)
      logger.info({ event: "series.not-here" }, `${this.name} does not run here: ${notHere}`);
    candidacy?.onChange(() => this.#electionChanged(candidacy));
  }

  /** Pays what a run that died has left, and begins with the schedule. What fails of it is logged and tried again. */
  start(): void {
    if (this.#retired) return;
    this.#isStarted = true;
    this.#working = this.#background().catch((err: unknown) => {
      this.#options.logger.error({ event: "series.failed", err }, (err as Error).message);
    });
  }

  /**
   * Ends what is under way, if `abort`, or else waits for its end; then gives everything back. Begins nothing more. May be
   * called again, to abort what was waited for.
   */
  close(abort: boolean): Promise<void> {
    this.#retired = true;
    if (abort) this.#abort();
    this.#closed ??= this.#end();
    return this.#closed;
  }

  /**
   * To be called when the daemon was held. Aborts what is under way, if `abort`, and what waits for its turn in any case.
   * With `abort` it stays elected: its server is about to be stopped, and no other one must be stopped for a backup then.
   * Otherwise it lets another node go first.
   *
   * @returns resolves when nothing is under way
   */
  async hold(abort: boolean): Promise<void> {
    if (abort || this.#isWaiting) this.#interrupt.abort(new BackypError("ERR_ABORTED", "the daemon was held"));
    this.#wake();
    await this.#ended;
    // Who was elected and does nothing would keep the others from it.
    if (this.#isHeld && !abort) void this.#placement.candidacy?.stepBack();
  }

  /** To be called when the daemon is not held any more. What a run that died has left meanwhile is paid first. */
  async release(): Promise<void> {
    await this.#recovering;
    // Who is still to start does that then.
    if (!this.#isStarted || this.#isHeld) return;
    await this.recover();
    if (this.#placement.isOpen) await this.#placeAgain();
    this.#wake();
  }

  /**
   * Pays what a run that died or was aborted has left, such as the start of the server that it had stopped.
   *
   * @returns null, or why it could not, which is logged, and tried again before the next run. Never rejects.
   */
  recover(): Promise<string | null> {
    if (this.#retired) return Promise.resolve(null);
    this.#recovering ??= this.#payDebts().finally(() => {
      this.#recovering = null;
    });
    return this.#recovering;
  }

  get #isHeld(): boolean {
    return this.#options.heldUntil() !== null;
  }

  #wake(): void {
    for (const scheduler of Object.values(this.#schedulers)) scheduler.wake();
  }

  #abort(): void {
    this.#closing.abort(new BackypError("ERR_ABORTED", "the daemon was told to stop"));
  }

  async #end(): Promise<void> {
    await this.#ended;
    this.#abort();
    await Promise.all(Object.values(this.#schedulers).map((scheduler) => scheduler.close()));
    await this.#ended;
    await this.#working;
    await this.#recovering;
    await this.#placing;
    await this.#placement.candidacy?.close();
    await this.#options.opened[Symbol.asyncDispose]();
  }

  status(): SeriesStatus {
    const { opened, history } = this.#options;
    const { runOn, notHere, candidacy } = this.#placement;
    const items = this.#list.items;
    const lastGood = lastGoodOf(items ?? []);
    const staleAt = this.#staleAt(lastGood);
    const backupRuns = history.runs.filter(({ kind }) => kind === "backup");
    const lastBackupRun = backupRuns.find(({ outcome }) => SAYS_SOMETHING.has(outcome)) ?? null;
    return {
      name: this.name,
      prefix: opened.prefix,
      source: opened.source.name,
      sink: opened.sink.location,
      mode: this.#mode,
      schedule: this.#schedule.text,
      runOn,
      notHere,
      ...healthOf({
        now: new Date(),
        lastGood,
        staleAt,
        lastBackupRun,
        sinkProblem: this.#list.problem?.message ?? null,
        electionProblem: this.#electionProblem(),
        isSeen: items !== null,
      }),
      election: candidacy === null ? null : electionStatus(candidacy),
      next: this.#nextRun(),
      current: this.#current,
      lastRun: history.runs[0] ?? null,
      failuresInARow: failuresIn(backupRuns, lastGood),
      lastGood,
      staleAt: staleAt?.toISOString() ?? null,
      lastVerified: history.lastVerified,
      totals: this.#list.totals,
    };
  }

  runs(): readonly RunRecord[] {
    return this.#options.history.runs;
  }

  backups({
    signal = this.#closing.signal,
  }: {
    readonly signal?: AbortSignal;
  } = {}): Promise<readonly BackupSummary[]> {
    return this.#list.recent(signal);
  }

  backup(id: string, { signal = this.#closing.signal }: { readonly signal?: AbortSignal } = {}): Promise<Manifest> {
    return this.#options.opened.series.catalog.load(id, { signal });
  }

  runNow(): CurrentRun {
    const { started } = this.#begin("backup", "request", null, (signal) => this.#backup(null, signal));
    return started;
  }

  verifyNow(id: string): CurrentRun {
    const { started } = this.#begin("verify", "request", null, (signal) => this.#verify(id, signal));
    return started;
  }

  /** All that goes on beside the runs, until it is closed. */
  async #background(): Promise<void> {
    const { signal } = this.#closing;
    // Held, it leaves the server alone; the release makes up for it.
    if (!this.#isHeld) await this.recover();
    if (signal.aborted) return;
    if (this.#placement.notHere === null) this.#startSchedulers();
    while (!signal.aborted) {
      // A server that was down could not say which one it is; and who was held did not stand for election.
      if (this.#placement.isOpen) await this.#placeAgain();
      await this.#list.look(signal).catch((error: unknown) => this.#sinkUnreadable(error));
      this.#changed();
      for (let waitedMs = 0; waitedMs < LOOK_INTERVAL_MS && !signal.aborted; waitedMs += TICK_MS) {
        await sleep(TICK_MS, undefined, { signal }).catch(() => {});
        // Nobody is told that another ten seconds have passed, but of what they have changed.
        this.#tell(() => {
          if (this.status().health !== this.#lastHealth) this.#changed();
        });
      }
    }
  }

  #placeAgain(): Promise<void> {
    this.#placing ??= this.#placeOnceMore().finally(() => {
      this.#placing = null;
    });
    return this.#placing;
  }

  async #placeOnceMore(): Promise<void> {
    try {
      await this.place();
    } catch (err) {
      this.#options.logger.warn({ event: "series.not-here", err }, (err as Error).message);
    }
    if (this.#placement.notHere === null && !this.#closing.signal.aborted) this.#startSchedulers();
  }

  async #payDebts(): Promise<string | null> {
    const { opened, logger } = this.#options;
    const { signal } = this.#closing;
    try {
      const done = await opened.source.recover?.({ signal, logger });
      if (done !== undefined && done.did !== "nothing") {
        logger.warn({ event: "recovered", ...done }, "what a run that died had left was looked after");
      }
      return null;
    } catch (err) {
      if (signal.aborted) return null;
      // The first run tries it again, and fails by it if it has to.
      const { message } = err as Error;
      logger.error({ event: "recover.failed", err }, message);
      // Somebody else is at it, who sees to its end himself.
      return isBackypError(err, "ERR_BUSY") ? null : message;
    }
  }

  #startSchedulers(): void {
    const { config, opened, logger, history, host } = this.#options;
    const { signal } = this.#closing;
    const { jitter = 0, firstRun = "now" } = config.schedule ?? DEFAULT_SCHEDULE;
    const common = {
      seed: `${host} ${opened.prefix}`,
      mayRun: () =>
        !this.#retired && !this.#isHeld && this.#recovering === null && this.#current === null && this.#mayRun(),
      onProblem: (err: BackypError) => {
        if (!signal.aborted) logger.warn({ event: "schedule.problem", err }, err.message);
      },
    };
    this.#schedulers.backup = startScheduler({
      ...common,
      schedule: this.#schedule,
      firstRun,
      jitterMs: jitter * 1000,
      newest: (now, abort) => this.#newest(now, abort),
      run: (planned, abort) => this.#runPlanned("backup", planned, abort),
      onPlan: () => this.#changed(),
    });
    if (config.verify === undefined) return;
    this.#schedulers.verify = startScheduler({
      ...common,
      schedule: scheduleOf(config.verify.schedule),
      firstRun: config.verify.schedule.firstRun ?? "scheduled",
      jitterMs: (config.verify.schedule.jitter ?? 0) * 1000,
      mayRun: () => common.mayRun() && this.#list.items?.[0] !== undefined,
      newest: async (now) => {
        const last = history.runs.find(
          ({ kind, trigger, outcome, startedAt }) =>
            kind === "verify" &&
            trigger !== "request" &&
            (outcome === "ok" || outcome === "damaged") &&
            Date.parse(startedAt) <= now.getTime(),
        );
        return last === undefined ? null : new Date(last.slot ?? last.startedAt);
      },
      run: (planned, abort) => this.#runPlanned("verify", planned, abort),
    });
  }

  /**
   * When the newest backup was taken: its slot, where that is known, so that what a run comes late by does not add up. A
   * sink that cannot be listed does not keep the next one from being tried: if that fails too, it is a failed run, of which
   * people are told. But who was elected meanwhile has to know what others have made.
   */
  async #newest(now: Date, signal: AbortSignal): Promise<Date | null> {
    const { runs } = this.#options.history;
    const made = runs.filter(({ kind, outcome }) => kind === "backup" && outcome === "ok");
    try {
      await this.#list.look(signal);
      this.#saidOfSink = null;
      this.#changed();
    } catch (err) {
      if (signal.aborted) throw err;
      this.#sinkUnreadable(err);
      if (this.#placement.candidacy !== null && this.#list.items === null) throw err;
    }
    const seen = newestAt(this.#list.items?.map(({ id }) => id) ?? [], now);
    const own = newestAt(
      made.map(({ backupId }) => backupId ?? ""),
      now,
    );
    const newest = (own?.time ?? 0) > (seen?.time ?? 0) && this.#list.problem !== null ? own : seen;
    if (newest === null) return null;
    const run = made.find(({ backupId }) => backupId === newest.id);
    // The slot of a first one is only where it would have been: others count from it itself.
    const slot = run === undefined || run.trigger === "first" ? null : run.slot;
    return new Date(slot === null ? newest.time : Date.parse(slot));
  }

  /** Says so, once for as long as it stays the same. */
  #sinkUnreadable(err: unknown): void {
    const { message } = err as Error;
    const isNew = message !== this.#saidOfSink;
    this.#saidOfSink = message;
    if (isNew && !this.#closing.signal.aborted) this.#options.logger.warn({ event: "sink.unreadable", err }, message);
  }

  /** Why nobody knows who is to back up, and nobody does; null if somebody does. */
  #electionProblem(): string | null {
    const { candidacy } = this.#placement;
    if (candidacy === null || candidacy.state !== "unreachable" || this.#options.config.ifElectionDown === "run")
      return null;
    return Date.now() - candidacy.since.getTime() > ELECTION_DOWN_MS ? candidacy.problem : null;
  }

  get runId(): string | null {
    return this.#current?.runId ?? null;
  }

  #mayRun(): boolean {
    const { candidacy } = this.#placement;
    if (candidacy === null) return true;
    if (candidacy.state === "elected") return !this.#isHandedOverJustNow(candidacy);
    if (candidacy.state !== "unreachable" || this.#options.config.ifElectionDown !== "run") return false;
    return Date.now() - candidacy.since.getTime() > ELECTION_DOWN_MS;
  }

  #isHandedOverJustNow({ since }: Candidacy): boolean {
    return this.#mode === "cold" && this.#hasTakenOver && Date.now() - since.getTime() < HANDED_OVER_MS;
  }

  get #mode(): string {
    const { mode, source } = this.#options.config;
    return mode ?? (typeof source.mode === "string" ? source.mode : "hot");
  }

  async #runPlanned(
    kind: "backup" | "verify",
    { slot, trigger }: PlannedRun,
    abort: AbortSignal,
  ): Promise<"done" | "failed" | "later"> {
    // Somebody may have asked for one a moment ago.
    if (this.#current !== null) return "later";
    const work = (signal: AbortSignal): Promise<Ending> =>
      kind === "backup" ? this.#backup(slot, signal) : this.#verify("latest", signal);
    const { ended } = this.#begin(kind, trigger, slot, work, abort);
    const { signal: interrupt } = this.#interrupt;
    const { outcome } = await ended;
    if (outcome === "lost" || outcome === "postponed") return "later";
    if (outcome === "aborted" && interrupt.aborted) return "later";
    if (outcome === "failed" || outcome === "aborted") return "failed";
    return "done";
  }

  /**
   * Begins a run, which writes its own record.
   *
   * @throws BackypError `ERR_BUSY`, `ERR_HELD`
   */
  #begin(
    kind: RunKind,
    trigger: Trigger,
    slot: Date | null,
    work: (signal: AbortSignal) => Promise<Ending>,
    abort?: AbortSignal,
  ): { readonly started: CurrentRun; readonly ended: Promise<RunRecord> } {
    if (this.#retired)
      throw new BackypError("ERR_BUSY", `${this.name}: the daemon is stopping, or has a new configuration`);
    const heldUntil = this.#options.heldUntil();
    if (heldUntil !== null) {
      const message = `${this.name}: the daemon is held until ${heldUntil}: \`zk-backyp release\` ends that`;
      throw new BackypError("ERR_HELD", message);
    }
    if (this.#current !== null) {
      const { kind: other, startedAt } = this.#current;
      throw new BackypError("ERR_BUSY", `${this.name}: a ${other} is under way since ${startedAt}; wait for its end`);
    }
    const started: CurrentRun = {
      runId: randomUUID(),
      kind,
      trigger,
      slot: slot?.toISOString() ?? null,
      startedAt: new Date().toISOString(),
      backupId: null,
      bytes: 0,
      totalBytes: 0,
      step: null,
    };
    this.#current = started;
    this.#interrupt = new AbortController();
    this.#skipped = null;
    const { logger, events } = this.#options;
    logger.info({ event: "run.start", runId: started.runId, kind, trigger, slot: started.slot }, `${kind} begins`);
    this.#tell(() => events.emit("run:start", this.name, started));
    this.#changed();
    const signals = [this.#closing.signal, this.#interrupt.signal, ...(abort === undefined ? [] : [abort])];
    const ended = this.#toItsEnd(started, work, AbortSignal.any(signals));
    this.#ended = ended.then(
      () => {},
      () => {},
    );
    return { started, ended };
  }

  async #toItsEnd(
    started: CurrentRun,
    work: (signal: AbortSignal) => Promise<Ending>,
    signal: AbortSignal,
  ): Promise<RunRecord> {
    const { logger, events, history } = this.#options;
    const { runId, kind, trigger, slot, startedAt } = started;
    const began = performance.now();
    let ending: Ending;
    let error: RunRecord["error"] = null;
    let cause: unknown;
    try {
      this.#isWaiting = true;
      const giveBack = await this.#options.turns.take(signal).finally(() => {
        this.#isWaiting = false;
      });
      try {
        ending = await work(signal);
      } finally {
        giveBack();
      }
    } catch (thrown) {
      cause = thrown;
      ending = endingOf(kind, thrown, signal);
      if (ending.outcome === "failed" || ending.outcome === "damaged") error = runErrorOf(thrown);
    }
    const record: RunRecord = {
      runId,
      kind,
      trigger,
      slot,
      startedAt,
      finishedAt: new Date().toISOString(),
      durationMs: Math.round(performance.now() - began),
      outcome: ending.outcome,
      backupId: ending.backupId ?? this.#current?.backupId ?? null,
      bytes: ending.bytes ?? null,
      downtimeMs: ending.downtimeMs ?? null,
      message: ending.message,
      error,
    };
    const { message, ...fields } = record;
    const line = { event: "run.end", ...fields, ...(cause === undefined ? {} : { err: cause }) };
    if (error !== null) logger.error(line, `${kind} ${record.outcome}: ${message}`);
    else logger.info(line, `${kind} ${record.outcome}: ${message}`);
    await history.add(record);
    if (record.outcome === "ok") await this.#list.look(this.#closing.signal).catch(() => {});
    this.#current = null;
    const planned = this.#schedulers.backup?.planned ?? null;
    const isOver = record.outcome !== "postponed" && record.outcome !== "lost";
    if (kind === "backup" && isOver && planned?.slot.toISOString() === slot) this.#overPlan = planned;
    this.#tell(() => events.emit("run:end", this.name, record));
    this.#changed();
    this.#afterRun(record);
    return record;
  }

  #afterRun({ kind, outcome, trigger, error }: RunRecord): void {
    if (error !== null && OF_THIS_NODE.has(error.code)) void this.#stepBack();
    this.#preferOther();
    // What waits for its turn. Who has begun this run knows how it ended, and when it wants the next one.
    for (const [other, scheduler] of Object.entries(this.#schedulers)) {
      if (other !== kind || trigger === "request") scheduler.wake();
    }
    const { retention, series } = this.#options.opened;
    if (kind !== "backup" || outcome !== "ok" || retention === undefined || this.#retired) return;
    // What it would delete now the next one deletes.
    if (this.#isHeld) return;
    this.#begin("prune", "schedule", null, async (signal) => {
      const { deleted, failures, freedBytes, problems } = await series.prune({ rules: retention, signal });
      const { logger } = this.#options;
      for (const problem of problems) logger.warn({ event: "prune.problem", backupId: problem.id }, problem.message);
      for (const { key, error } of failures) logger.warn({ event: "prune.failed", key, err: error }, error.message);
      const [first] = failures;
      if (first !== undefined) throw first.error;
      return {
        outcome: "ok",
        message: `deleted ${deleted.length === 1 ? "1 backup" : `${deleted.length} backups`}`,
        bytes: freedBytes,
      };
    });
  }

  async #backup(slot: Date | null, signal: AbortSignal): Promise<Ending> {
    const { opened } = this.#options;
    const { series, sink, prefix } = opened;
    // Where others run the same series the slot is the backup's id, so that none of them stores a second one for it.
    const candidacy = slot === null ? null : this.#placement.candidacy;
    // Of elected ones there is only one.
    const lock = candidacy === null ? await takeRunLock(`${sink.location}/${prefix}`) : null;
    try {
      const mayPublish = candidacy === null ? undefined : (abort: AbortSignal) => this.#confirm(candidacy, abort);
      const manifest = await series.backup({
        signal,
        ...(slot === null || mayPublish === undefined ? {} : { slot, mayPublish }),
      });
      if (manifest === null) return this.#afterSkip(candidacy);
      const downtimeMs = downtimeOf(manifest);
      return {
        outcome: "ok",
        message: `${manifest.id} is stored and verified`,
        backupId: manifest.id,
        bytes: manifest.archive.size,
        downtimeMs,
      };
    } finally {
      await lock?.release();
    }
  }

  /** An election that cannot be reached does not keep a backup from being stored where that was configured. */
  async #confirm(candidacy: Candidacy, signal: AbortSignal): Promise<void> {
    if (candidacy.state === "unreachable" && this.#mayRun()) return;
    await candidacy.confirm(signal);
  }

  async #afterSkip(candidacy: Candidacy | null): Promise<Ending> {
    const { reason, message } = this.#skipped ?? { reason: "nothing-new", message: "there is nothing new" };
    // Another node may have no such reason.
    if (reason !== "nothing-new" && candidacy !== null) await this.#stepBack();
    return { outcome: "skipped", message };
  }

  async #verify(wanted: string, signal: AbortSignal): Promise<Ending> {
    const { series } = this.#options.opened;
    try {
      const { manifest } = await series.verify(wanted, { signal });
      const { id, archive } = manifest;
      return { outcome: "ok", message: `${id} is what was stored, and restores`, backupId: id, bytes: archive.size };
    } catch (error) {
      if (wanted !== "latest" || !isBackypError(error, "ERR_BACKUP_NOT_FOUND")) throw error;
      return { outcome: "skipped", message: "there is no backup yet" };
    }
  }

  #electionChanged(candidacy: Candidacy): void {
    // It leaves, and has nobody to be afraid of.
    if (this.#closing.signal.aborted) return;
    const { logger } = this.#options;
    const { state, holder, problem } = electionStatus(candidacy);
    if (state !== this.#electionState) this.#hasTakenOver = state === "elected" && this.#electionState === "waiting";
    this.#electionState = state;
    const text =
      state === "elected"
        ? "this node is elected"
        : state === "waiting"
          ? `another node is elected${holder === null ? "" : `: ${holder}`}`
          : `the election cannot be reached: ${problem}`;
    logger[state === "unreachable" ? "warn" : "info"]({ event: "election", state, holder }, text);
    this.#preferOther();
    this.#wake();
    this.#changed();
  }

  /** Lets another node go first that serves fewer clients, while nothing is under way. */
  #preferOther(): void {
    const { candidacy } = this.#placement;
    if (candidacy?.prefersOther === true && this.#current === null) void this.#stepBack();
  }

  /** Lets another node go first. Not while it is held: {@link hold} has decided on that. */
  async #stepBack(): Promise<void> {
    if (!this.#isHeld) await this.#placement.candidacy?.stepBack();
  }

  /** Keeps what the series tells of the run that is under way. */
  #follow(): void {
    const { events } = this.#options.opened.series;
    const note = (facts: Partial<CurrentRun>): void => {
      if (this.#current === null) return;
      this.#current = { ...this.#current, ...facts };
      this.#changed();
    };
    events.on("backup:start", ({ backupId }) => note({ backupId }));
    events.on("verify:start", ({ backupId }) => note({ backupId }));
    events.on("backup:progress", ({ bytes, totalBytes }) => note({ bytes, totalBytes }));
    events.on("verify:progress", ({ bytes, totalBytes }) => note({ bytes, totalBytes }));
    events.on("backup:skipped", ({ reason, message }) => {
      this.#skipped = { reason, message };
    });
    events.on("backup:step", ({ step, facts, backupId }) => {
      const runId = this.#current?.runId;
      this.#options.logger.info({ event: "run.step", runId, backupId, step, ...facts }, step);
      note({ step });
    });
    events.on("prune:deleted", ({ backupId, bytes }) => {
      const runId = this.#current?.runId;
      this.#options.logger.info({ event: "prune.deleted", runId, backupId, bytes }, `${backupId} was deleted`);
    });
  }

  #nextRun(): NextRun | null {
    const planned = this.#schedulers.backup?.planned ?? null;
    if (planned === null || planned === this.#overPlan || this.#current !== null) return null;
    const { slot, at, trigger } = planned;
    return { slot: slot.toISOString(), at: at.toISOString(), trigger };
  }

  #staleAt(lastGood: SeriesStatus["lastGood"]): Date | null {
    const { staleAfter } = this.#options.config;
    const since = lastGood === null ? this.#startedAt : new Date(lastGood.startedAt);
    if (staleAfter !== undefined) {
      const duration = parseDuration(staleAfter);
      return duration === null ? null : pointAfter(since, duration);
    }
    // One may be missed; the second one is too many.
    const first = this.#schedule.next(since, since);
    return new Date(this.#schedule.next(first, first).getTime() + LATE_MS);
  }

  #changed(): void {
    this.#tell(() => {
      this.#lastHealth = this.status().health;
      this.#options.events.emit("changed", this.name);
    });
  }

  /** Whoever listens must not be able to stop a run. */
  #tell(emit: () => void): void {
    try {
      emit();
    } catch (err) {
      this.#options.logger.error({ event: "listener.failed", err }, (err as Error).message);
    }
  }
}

/** Outcomes that say whether backups work. */
const SAYS_SOMETHING: ReadonlySet<Outcome> = new Set(["ok", "failed", "taken", "skipped"]);

function scheduleOf(config: ScheduleConfig): Schedule {
  return "cron" in config ? cronSchedule(config.cron, config.timeZone) : intervalSchedule(config.interval * 1000);
}

/** Failures since the last good backup, whoever made that; `runs` are newest first. */
function failuresIn(runs: readonly RunRecord[], lastGood: SeriesStatus["lastGood"]): number {
  const isBefore = ({ outcome, startedAt }: RunRecord): boolean =>
    outcome === "ok" || (lastGood !== null && startedAt < lastGood.startedAt);
  const before = runs.findIndex(isBefore);
  return runs.slice(0, before === -1 ? undefined : before).filter(({ outcome }) => outcome === "failed").length;
}

/** The newest good one. What is of the future comes from a clock that was wrong, and says nothing. */
function lastGoodOf(items: readonly BackupSummary[]): SeriesStatus["lastGood"] {
  const now = new Date(Date.now() + CLOCKS_DIFFER_MS).toISOString();
  const good = items.find(({ verified, startedAt }) => verified && startedAt <= now);
  return good === undefined ? null : { id: good.id, startedAt: good.startedAt, upToTime: good.upToTime };
}

/** The newest of the ids, which are newest first, that is not of the future: some clock may have been wrong. */
function newestAt(ids: readonly string[], now: Date): { readonly id: string; readonly time: number } | null {
  for (const id of ids) {
    const time = timeOfBackupId(id);
    if (time !== null && time <= now.getTime()) return { id, time };
  }
  return null;
}

/** How a run ended that threw. */
function endingOf(kind: RunKind, thrown: unknown, signal: AbortSignal): Ending {
  if (signal.aborted && !isBackypError(thrown, "ERR_NODE_DOWN")) {
    return { outcome: "aborted", message: abortError(signal).message };
  }
  const { code, message } = runErrorOf(thrown);
  if (kind === "verify" && DAMAGE.has(code)) return { outcome: "damaged", message };
  return { outcome: OUTCOMES[code] ?? "failed", message };
}

const OUTCOMES: Partial<Record<ErrorCode, Outcome>> = {
  ERR_SLOT_TAKEN: "taken",
  ERR_NOT_ELECTED: "lost",
  ERR_BUSY: "postponed",
};

/** What a verification can find. */
const DAMAGE: ReadonlySet<ErrorCode> = new Set([
  "ERR_ARCHIVE_CORRUPT",
  "ERR_CHECKSUM_MISMATCH",
  "ERR_BACKUP_DAMAGED",
  "ERR_MANIFEST_INVALID",
  "ERR_SOURCE_DAMAGED",
]);

/** Failures that are this node's own: another one may do better. */
const OF_THIS_NODE: ReadonlySet<ErrorCode> = new Set([
  "ERR_SOURCE_UNAVAILABLE",
  "ERR_SOURCE_CHANGED",
  "ERR_SOURCE_DAMAGED",
  "ERR_NODE_CONTROL",
  "ERR_NODE_DOWN",
  "ERR_STOP_REFUSED",
]);
