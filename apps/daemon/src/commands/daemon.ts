import { BackypError, isBackypError } from "@zk-backyp/core";
import type { CommandContext } from "../command-context.ts";
import { type DaemonConfig, readDaemonConfig } from "../config.ts";
import { Daemon } from "../daemon/daemon.ts";
import { createDaemonLogger, type DaemonLogger } from "../daemon/log.ts";
import { connectServiceManager, type ServiceManager } from "../daemon/service-manager.ts";
import { Services } from "../daemon/services.ts";
import { ExitCode } from "../exit-codes.ts";
import { MAX_HOLD_SECONDS, secondsOf } from "../seconds.ts";
import { version } from "../version.ts";

export interface DaemonFlags {
  readonly config?: string | undefined;
  /** Seconds for which it is held from the beginning, as by `hold`. */
  readonly hold?: string | undefined;
}

/** What the daemon needs of its process beside what every command is given. */
export interface DaemonSurroundings {
  /** Takes whole lines of the log. */
  writeLog(text: string): void;
  /** Whether people look at it. */
  readonly isTerminal: boolean;
  /** Calls `listener` whenever the process is told to read its configuration anew. */
  onReload(listener: () => void): void;
}

/** `daemon`: backs up on schedule until it is told to end. */
export async function daemon(
  flags: DaemonFlags,
  { signal }: CommandContext,
  { writeLog, isTerminal, onReload }: DaemonSurroundings,
): Promise<number> {
  const holdSeconds = secondsOf("--hold", flags.hold, MAX_HOLD_SECONDS);
  const logger = createDaemonLogger("info", writeLog, isTerminal);
  // First of all: what it finds in the environment is for nobody else.
  const manager = connectServiceManager({ isAlive: () => true, logger });
  // Whoever asks for a reload before there is anything to reload gets it afterwards, and not the end of the process.
  let isAsked = false;
  let reload = (): void => {
    isAsked = true;
  };
  onReload(() => reload());
  // What nobody catches ends the process as ever, but not without a line in the log.
  process.once("uncaughtException", (err) => {
    logger.error({ event: "daemon.crashed", err }, `the daemon ends by an error that nobody foresaw: ${err.message}`);
    process.exit(ExitCode.failed);
  });
  try {
    const config = await readConfiguration(flags.config);
    logger.level = config.log.level;
    logger.info({ event: "daemon.start", version, config: config.path }, `zk-backyp ${version} starts`);
    const running = new Daemon(config, logger);
    const services = new Services(running, logger);
    try {
      if (holdSeconds !== undefined) running.hold({ abort: false, seconds: holdSeconds });
      await services.take(config, () => running.take(config));
      const reloads = reloader(running, services, { manager, logger });
      reload = reloads.request;
      if (isAsked) reload();
      manager.ready(readiness(running));
      await ended(signal);
      manager.stopping();
      logger.info({ event: "daemon.stop" }, "the daemon ends: what is under way is ended first");
    } finally {
      await running.stop();
      await services.close();
    }
    logger.info({ event: "daemon.stopped" }, "the daemon has ended");
    return ExitCode.ok;
  } finally {
    await manager.close();
  }
}

async function readConfiguration(path: string | undefined): Promise<DaemonConfig> {
  const config = await readDaemonConfig(path);
  if (config !== null) return config;
  throw new BackypError(
    "ERR_CONFIG_INVALID",
    "there is no configuration file here: name one with --config, or have `zk-backyp init` write one",
  );
}

/** Reads the configuration anew when it is asked to, once at a time, and once more if it was asked meanwhile. */
function reloader(
  daemon: Daemon,
  services: Services,
  { manager, logger }: { readonly manager: ServiceManager; readonly logger: DaemonLogger },
): { request(): void } {
  let reloading: Promise<void> = Promise.resolve();
  let waiting = false;
  const reload = async (): Promise<void> => {
    waiting = false;
    if (daemon.status().state === "stopping") return;
    manager.reloading();
    try {
      const config = await readConfiguration(daemon.status().config.path);
      await services.take(config, () => daemon.take(config));
      logger.level = config.log.level;
    } catch (err) {
      const message = isBackypError(err) ? err.message : String(err);
      daemon.refuse(message);
      logger.error(
        { event: "config.refused", err },
        `the new configuration is not taken, the old one stays: ${message}`,
      );
    }
    manager.ready(readiness(daemon));
  };
  return {
    request() {
      if (waiting) return;
      waiting = true;
      reloading = reloading.then(reload);
    },
  };
}

function readiness(daemon: Daemon): string {
  const { series, config } = daemon.status();
  const refused = config.refused === null ? "" : "; a new configuration was refused";
  return `${series.length} series: ${series.map(({ name, schedule }) => `${name} ${schedule}`).join(", ")}${refused}`;
}

function ended(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener("abort", () => resolve(), { once: true });
  });
}
