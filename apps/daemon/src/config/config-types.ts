import type { RetentionRules } from "@zk-backyp/core";

/** A plugin's place in a configuration: its name, and beside it its options. */
interface PluginConfig {
  readonly use: string;
  readonly [option: string]: unknown;
}

/** One series of a configuration: a source, a sink, and how they are joined. */
export interface SeriesConfig {
  readonly source: PluginConfig;
  readonly sink: PluginConfig;
  /** What ids and keys begin with. Default: the series' name. */
  readonly prefix?: string | undefined;
  /** Default: gzip at level 5. */
  readonly compression?: "gzip" | "none" | { readonly gzip: { readonly level: number } } | undefined;
  /** The source's option of that name. */
  readonly mode?: "hot" | "cold" | undefined;
  /** Which backups a prune keeps. Without it the daemon deletes none. */
  readonly retention?: RetentionRules | undefined;
  /** When the daemon backs up. Default: every 86400 seconds. */
  readonly schedule?: ScheduleConfig | undefined;
  /** When the daemon reads the newest backup back. Default: never. */
  readonly verify?: { readonly schedule: ScheduleConfig } | undefined;
  /**
   * Which of several daemons with this series runs it: `always` (the default) this one; `elected`: the one that they elect
   * through ZooKeeper; else the one on this host, or beside the server with this `myid`.
   */
  readonly runOn?: string | number | undefined;
  /** With `runOn: elected`, while the election cannot be reached: `wait` (the default), or `run` all the same. */
  readonly ifElectionDown?: "wait" | "run" | undefined;
  /**
   * How old the newest good backup may become (`36h`, `2d`) before somebody is told. Default: until two runs
   * in a row and an hour are missed.
   */
  readonly staleAfter?: string | undefined;
}

/** When something is due. */
export type ScheduleConfig = (
  | {
      /** Seconds from one to the next. */
      readonly interval: number;
    }
  | {
      /** Five fields, or six with seconds first, as croner reads them. */
      readonly cron: string;
      /** An IANA name such as `Europe/Berlin`. Default: UTC. */
      readonly timeZone?: string | undefined;
    }
) & {
  /** Begins up to that many seconds later, always the same for one series on one host. Default: 0. */
  readonly jitter?: number | undefined;
  /** If there is no backup yet: `now` (the default), or when it is due next. */
  readonly firstRun?: "now" | "scheduled" | undefined;
};

/** Where the daemon listens. */
export interface HttpConfig {
  /** Default: 127.0.0.1. */
  readonly host: string;
  /** Default: 9642. 0 takes a free one. */
  readonly port: number;
  readonly tls?: { readonly certFile: string; readonly keyFile: string } | undefined;
  /** What whoever changes something has to show. Without it nothing can be changed by HTTP. */
  readonly token?: string | undefined;
}

/** Of what somebody is told. */
export type NotifiedEvent = "failure" | "stale" | "recovery";

/** Somebody who is told. */
export type NotificationConfig = (
  | {
      readonly use: "webhook";
      readonly url: string;
      readonly headers?: Readonly<Record<string, string>> | undefined;
      /** JSON, in whose texts `{{series}}` and the like are replaced. Default: all that is known. */
      readonly body?: unknown;
    }
  | {
      readonly use: "command";
      readonly command: readonly string[];
    }
) & {
  /** Of what. Default: all three. */
  readonly on?: readonly NotifiedEvent[] | undefined;
};

/** Stands for a value that is elsewhere: in the environment, or in a file. */
export type SecretPlace = { readonly env: string } | { readonly file: string };

/** A configuration as a command needs it: its form was checked, but no secret was looked up and no plugin asked. */
export interface Config {
  readonly path: string;
  /** Relative paths in it, and its plugins, are looked for from here. */
  readonly folder: string;
  readonly series: Readonly<Record<string, SeriesConfig>>;
  /** The root helper's options, which it checks itself. It may have a configuration without any series. */
  readonly helper?: Readonly<Record<string, unknown>> | undefined;
}

/** A configuration as the daemon needs it: checked whole, with secrets and defaults in their places, and full paths. */
export interface DaemonConfig extends Config {
  /** `false`: the daemon does not listen. */
  readonly http: HttpConfig | false;
  readonly notifications: readonly NotificationConfig[];
  /** Where the daemon keeps what it remembers over a restart. Undefined: nowhere. */
  readonly stateDir: string | undefined;
  readonly log: { readonly level: LogLevel };
}

export type LogLevel = "debug" | "info" | "warn" | "error";
