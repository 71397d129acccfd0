import { hostname } from "node:os";
import { BackypError } from "@zk-backyp/core";
import { EventEmitter } from "eventemitter3";
import type { DaemonConfig } from "../config.ts";
import { openSeriesOf } from "../open-series.ts";
import { withSecrets } from "../secrets.ts";
import { version } from "../version.ts";
import type { DaemonEvents, DaemonStatus, DaemonView, SeriesView } from "./daemon-view.ts";
import type { DaemonLogger } from "./log.ts";
import { RunHistory } from "./run-history.ts";
import { SeriesRunner } from "./series-runner.ts";

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
  readonly #startedAt: string = new Date().toISOString();
  #state: DaemonStatus["state"] = "running";
  #config: DaemonStatus["config"];
  #series: ReadonlyMap<string, Running> = new Map();
  /** Series of earlier configurations that are being given up. */
  readonly #leaving: Set<Promise<void>> = new Set();

  private constructor(config: DaemonConfig, logger: DaemonLogger) {
    this.#logger = logger;
    this.#config = { path: config.path, loadedAt: new Date().toISOString(), refused: null };
  }

  /**
   * Begins with all series of a configuration.
   *
   * @throws BackypError `ERR_CONFIG_INVALID`, `ERR_PLUGIN_NOT_FOUND`, `ERR_PLUGIN_INVALID`
   */
  static async start(config: DaemonConfig, logger: DaemonLogger): Promise<Daemon> {
    const daemon = new Daemon(config, logger);
    await daemon.take(config);
    return daemon;
  }

  status(): DaemonStatus {
    return {
      version,
      host: this.#host,
      startedAt: this.#startedAt,
      state: this.#state,
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
    } catch (error) {
      for (const runner of begun) await runner.close(true);
      throw error;
    }
    const left = [...this.#series].filter(([name, { runner }]) => next.get(name)?.runner !== runner);
    this.#series = next;
    this.#config = { path: config.path, loadedAt: new Date().toISOString(), refused: null };
    const gone = new Map(left.map(([name, { runner }]) => [name, this.#leave(runner)]));
    for (const runner of begun) void this.#startAfter(gone.get(runner.name), runner);
    const changes = { series: names, begun: begun.map(({ name }) => name), ended: left.map(([name]) => name) };
    this.#logger.info(
      { event: "config.taken", path: config.path, ...changes },
      `the configuration ${config.path} is in force`,
    );
    this.events.emit("changed", null);
  }

  /** Notes that a configuration was not taken. */
  refuse(message: string): void {
    this.#config = { ...this.#config, refused: { at: new Date().toISOString(), message } };
    this.events.emit("changed", null);
  }

  /** Ends what is under way, so that nothing is left half done, and everything with it. */
  async stop(): Promise<void> {
    this.#state = "stopping";
    this.events.emit("changed", null);
    await Promise.all([...this.#series.values()].map(({ runner }) => runner.close(true)));
    await Promise.all(this.#leaving);
  }

  async #open(config: DaemonConfig, name: string): Promise<SeriesRunner> {
    const series = config.series[name];
    if (series === undefined) throw new Error(`no series ${name}`);
    const logger = this.#logger.child({ series: name });
    const history = await RunHistory.open(config.stateDir ?? null, name, logger);
    const opened = await openSeriesOf(config, name, logger);
    const restoreCommand = (id: string): string =>
      ["zk-backyp", "restore", id, "--config", config.path, "--series", name, "--to", `./${id}`].map(quoted).join(" ");
    const { events } = this;
    return new SeriesRunner({
      name,
      config: series,
      opened,
      history,
      logger,
      events,
      host: this.#host,
      restoreCommand,
    });
  }

  async #startAfter(before: Promise<void> | undefined, runner: SeriesRunner): Promise<void> {
    await before;
    runner.start();
  }

  #leave(runner: SeriesRunner): Promise<void> {
    const left = runner.close(this.#state === "stopping").catch((err: unknown) => {
      this.#logger.error({ event: "series.failed", series: runner.name, err }, (err as Error).message);
    });
    this.#leaving.add(left);
    void left.then(() => this.#leaving.delete(left));
    return left;
  }
}

function fingerprint(config: DaemonConfig, name: string): string {
  const { path, folder, stateDir } = config;
  return JSON.stringify([path, folder, stateDir, withSecrets(config.series[name], folder, `series.${name}`)]);
}

/** As a shell takes it for one word. */
function quoted(word: string): string {
  return /^[A-Za-z0-9_@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`;
}
