import { hostname } from "node:os";
import { BackypError, type Logger } from "@zk-backyp/core";
import { EventEmitter } from "eventemitter3";
import type { DaemonConfig } from "../config.ts";
import { openSeriesOf } from "../open-series.ts";
import { withSecrets } from "../secrets.ts";
import { version } from "../version.ts";
import type { DaemonEvents, DaemonStatus, DaemonView, Hold, HoldOptions, SeriesView } from "./daemon-view.ts";
import type { DaemonLogger } from "./log.ts";
import { RunHistory } from "./run-history.ts";
import { SeriesRunner } from "./series-runner.ts";
import { Turns } from "./turns.ts";

/** What a run needs of memory and bandwidth is there so many times: of many series that are due at once some wait. */
const RUNS_AT_ONCE = 4;

/** A series at work, and what it was made from. */
interface Running {
  readonly runner: SeriesRunner;
  /** Two that are equal are the same series with the same secrets. */
  readonly madeFrom: string;
}

/** All series of a configuration, each on its own schedule; and another configuration when there is one. */
export class Daemon implements DaemonView {
  readonly events: EventEmitter<DaemonEvents> = new EventEmitter();
  readonly #logger: DaemonLogger;
  readonly #host: string = hostname();
  readonly #turns: Turns = new Turns(RUNS_AT_ONCE);
  readonly #startedAt: string = new Date().toISOString();
  #state: DaemonStatus["state"] = "running";
  #config: DaemonStatus["config"];
  #hold: Hold | null = null;
  #holdEnd: NodeJS.Timeout | undefined;
  #series: ReadonlyMap<string, Running> = new Map();
  /** Series of earlier configurations that are being given up, and when that is done, by their names. */
  readonly #leaving: Map<string, { readonly runner: SeriesRunner; readonly gone: Promise<void> }[]> = new Map();
  /** By `stateDir` and name. */
  readonly #histories: Map<string, RunHistory> = new Map();

  /** Has no series before it takes a configuration. */
  constructor(config: DaemonConfig, logger: DaemonLogger) {
    this.#logger = logger;
    this.#config = { path: config.path, loadedAt: new Date().toISOString(), refused: null };
  }

  status(): DaemonStatus {
    return {
      version,
      host: this.#host,
      startedAt: this.#startedAt,
      state: this.#state,
      hold: this.#hold,
      config: this.#config,
      series: this.series().map((series) => series.status()),
    };
  }

  series(): readonly SeriesView[] {
    return [...this.#series.values()].map(({ runner }) => runner);
  }

  /**
   * Goes on with another configuration. Series that are the same in it are left alone; one that is not ends the run that is
   * under way first. If it cannot be used, all stays as it is.
   *
   * @throws BackypError `ERR_CONFIG_INVALID`, `ERR_PLUGIN_NOT_FOUND`, `ERR_PLUGIN_INVALID`
   */
  async take(config: DaemonConfig): Promise<void> {
    const names = Object.keys(config.series);
    if (names.length === 0) {
      throw new BackypError("ERR_CONFIG_INVALID", `${config.path} has no series: is it the configuration of a helper?`);
    }
    const next = new Map<string, Running>();
    const begun: SeriesRunner[] = [];
    try {
      for (const name of names) {
        const madeFrom = fingerprint(config, name);
        const there = this.#series.get(name);
        if (there?.madeFrom === madeFrom) {
          next.set(name, there);
          continue;
        }
        const runner = await this.#open(config, name);
        begun.push(runner);
        await runner.place();
        next.set(name, { runner, madeFrom });
      }
      if (this.#state === "stopping") throw new BackypError("ERR_ABORTED", "the daemon is stopping");
    } catch (error) {
      for (const runner of begun) await this.#close(runner, true);
      throw error;
    }
    const left = [...this.#series].filter(([name, { runner }]) => next.get(name)?.runner !== runner);
    this.#series = next;
    this.#config = { path: config.path, loadedAt: new Date().toISOString(), refused: null };
    for (const [, { runner }] of left) this.#leave(runner);
    for (const runner of begun) void this.#startAfterOthers(runner);
    const changes = { series: names, begun: begun.map(({ name }) => name), ended: left.map(([name]) => name) };
    this.#logger.info(
      { event: "config.taken", path: config.path, ...changes },
      `the configuration ${config.path} is in force`,
    );
    this.events.emit("changed", null);
  }

  hold({ abort, seconds }: HoldOptions): void {
    if (this.#state === "stopping") return;
    const now = new Date();
    const end = new Date(now.getTime() + seconds * 1000).toISOString();
    const before = this.#hold;
    const hold = {
      since: before?.since ?? now.toISOString(),
      until: before !== null && before.until > end ? before.until : end,
      abort: abort || before?.abort === true,
      problem: null,
    };
    this.#hold = hold;
    const isAsBefore = this.#state === "held" && before?.problem === null;
    this.#state = isAsBefore ? "held" : "holding";
    if (hold.until === end) {
      clearTimeout(this.#holdEnd);
      this.#holdEnd = setTimeout(() => this.#goOn("hold.expired", "nobody has released the daemon"), seconds * 1000);
    }
    this.#logger.info({ event: "hold.begin", ...hold }, `the daemon begins nothing until ${hold.until}`);
    this.events.emit("changed", null);
    if (!isAsBefore) void this.#untilHeld(hold);
  }

  release(): void {
    this.#goOn("hold.released", "the daemon was released");
  }

  /** Gives up as soon as the hold is another one, or over. Never rejects. */
  async #untilHeld(hold: Hold): Promise<void> {
    // Also those that are being given up may have a run under way.
    const leaving = [...this.#leaving.values()].flat();
    const runners = [...this.#series.values(), ...leaving].map(({ runner }) => runner);
    await Promise.all(runners.map((runner) => runner.hold(hold.abort)));
    if (this.#hold !== hold || this.#state !== "holding") return;
    // A run that was aborted has the server started, but may not have waited until it serves.
    const recovered = [...this.#series.values()].map(async ({ runner }) => {
      const problem = await runner.recover();
      return problem === null ? [] : [`${runner.name}: ${problem}`];
    });
    const problem = (await Promise.all(recovered)).flat().join("; ") || null;
    if (this.#hold !== hold || this.#state !== "holding") return;
    this.#hold = { ...hold, problem };
    this.#state = "held";
    const fields = { event: "hold.held", ...this.#hold };
    if (problem === null) this.#logger.info(fields, "nothing is under way");
    else this.#logger.error(fields, `nothing is under way, but a server is not back: ${problem}`);
    this.events.emit("changed", null);
  }

  #goOn(event: string, why: string): void {
    if (this.#hold === null || this.#state === "stopping") return;
    clearTimeout(this.#holdEnd);
    this.#logger.info({ event, ...this.#hold }, `${why}: it goes on`);
    this.#hold = null;
    this.#state = "running";
    this.events.emit("changed", null);
    for (const { runner } of this.#series.values()) void runner.release();
  }

  /** Notes that a configuration was not taken. */
  refuse(message: string): void {
    this.#config = { ...this.#config, refused: { at: new Date().toISOString(), message } };
    this.events.emit("changed", null);
  }

  /** Ends what is under way, so that nothing is left half done, and everything with it. Never rejects. */
  async stop(): Promise<void> {
    this.#state = "stopping";
    clearTimeout(this.#holdEnd);
    this.events.emit("changed", null);
    for (const { runner } of this.#series.values()) this.#leave(runner);
    const leaving = [...this.#leaving.values()].flat();
    // Those that were to end by themselves have no time for that any more.
    await Promise.all(leaving.map(({ runner }) => this.#close(runner, true)));
  }

  async #open(config: DaemonConfig, name: string): Promise<SeriesRunner> {
    const series = config.series[name];
    if (series === undefined) throw new Error(`no series ${name}`);
    const logger = this.#logger.child({ series: name });
    const history = await this.#historyOf(config.stateDir ?? null, name, logger);
    let runner: SeriesRunner | null = null;
    const opened = await openSeriesOf(
      config,
      name,
      ofRun(logger, () => runner?.runId ?? null),
    );
    const restoreCommand = (id: string): string =>
      ["zk-backyp", "restore", id, "--config", config.path, "--series", name, "--to", `./${id}`].map(quoted).join(" ");
    const { events } = this;
    const turns = this.#turns;
    runner = new SeriesRunner({
      name,
      config: series,
      opened,
      history,
      logger,
      events,
      turns,
      heldUntil: () => this.#hold?.until ?? null,
      host: this.#host,
      restoreCommand,
    });
    return runner;
  }

  /** One for as long as the daemon lives: a run that is under way writes into the same. */
  async #historyOf(stateDir: string | null, name: string, logger: DaemonLogger): Promise<RunHistory> {
    const key = JSON.stringify([stateDir, name]);
    const history = this.#histories.get(key) ?? (await RunHistory.open(stateDir, name, logger));
    this.#histories.set(key, history);
    return history;
  }

  /** Never two of one name at work. */
  async #startAfterOthers(runner: SeriesRunner): Promise<void> {
    await Promise.all((this.#leaving.get(runner.name) ?? []).map(({ gone }) => gone));
    runner.start();
  }

  #leave(runner: SeriesRunner): void {
    const { name } = runner;
    const leaving = { runner, gone: this.#close(runner, false) };
    this.#leaving.set(name, [...(this.#leaving.get(name) ?? []), leaving]);
    void leaving.gone.then(() => {
      const others = (this.#leaving.get(name) ?? []).filter((other) => other !== leaving);
      if (others.length > 0) this.#leaving.set(name, others);
      else this.#leaving.delete(name);
    });
  }

  async #close(runner: SeriesRunner, abort: boolean): Promise<void> {
    try {
      await runner.close(abort);
    } catch (err) {
      this.#logger.error({ event: "series.failed", series: runner.name, err }, (err as Error).message);
    }
  }
}

/** For sources and sinks, which know nothing of the daemon's runs: all they say goes with the one that is under way. */
function ofRun(logger: DaemonLogger, runId: () => string | null): Logger {
  const fields = (given: object): object => ({ event: "said", runId: runId(), ...given });
  return {
    debug: (given, message) => logger.debug(fields(given), message),
    info: (given, message) => logger.info(fields(given), message),
    warn: (given, message) => logger.warn(fields(given), message),
  };
}

function fingerprint(config: DaemonConfig, name: string): string {
  const { path, folder, stateDir } = config;
  return JSON.stringify([path, folder, stateDir, withSecrets(config.series[name], folder, `series.${name}`)]);
}

/** As a shell takes it for one word. */
function quoted(word: string): string {
  return /^[A-Za-z0-9_@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`;
}
