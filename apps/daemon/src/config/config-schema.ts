import { cronSchedule, isBackypError, parseDuration, retentionRulesSchema } from "@zk-backyp/core";
import { z } from "zod";
import type { HttpConfig, LogLevel, NotifiedEvent, ScheduleConfig, SecretPlace, SeriesConfig } from "./config-types.ts";

/** What {@link HttpConfig} is made from. */
export interface WrittenHttp extends Pick<HttpConfig, "host" | "port" | "tls"> {
  readonly token?: string | SecretPlace | undefined;
}

/** What a `NotificationConfig` is made from. */
export type WrittenNotification = (
  | {
      readonly use: "webhook";
      readonly url: string | SecretPlace;
      readonly headers?: Readonly<Record<string, string | SecretPlace>> | undefined;
      readonly body?: unknown;
    }
  | { readonly use: "command"; readonly command: readonly string[] }
) & { readonly on?: readonly NotifiedEvent[] | undefined };

/** A configuration as it is written, with secrets still named by their places. */
export interface WrittenConfig {
  readonly series: Readonly<Record<string, SeriesConfig>>;
  readonly helper?: Readonly<Record<string, unknown>> | undefined;
  readonly http: WrittenHttp | false;
  readonly notifications: readonly WrittenNotification[];
  readonly stateDir?: string | undefined;
  readonly log: { readonly level: LogLevel };
}

/** What ids and keys may begin with; core says the same. */
const PREFIX = /^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$/;
const YEAR_SECONDS = 366 * 86_400;

const text = z.string().min(1, "is empty");

/** Checks {@link SecretPlace}. */
export const secretPlaceSchema: z.ZodType<SecretPlace> = z.union([
  z.strictObject({ env: text.meta({ description: "Name of an environment variable that holds the value." }) }),
  z.strictObject({
    file: text.meta({ description: "Path of a file that holds the value. Relative to the configuration's folder." }),
  }),
]);

/** A text that is given, or named by its place; what it has to look like is checked once it is there. */
const secret = z.union([text, secretPlaceSchema]);

const plugin = (kind: string, examples: readonly object[]): z.ZodType<SeriesConfig["source"]> =>
  z.looseObject({ use: text.meta({ description: `Name of the ${kind} plugin.` }) }).meta({
    description: `The ${kind}: which plugin, and its options beside it.`,
    examples: [...examples],
  });

const schedule: z.ZodType<ScheduleConfig> = z
  .strictObject({
    interval: z
      .int()
      .min(1)
      .max(YEAR_SECONDS)
      .optional()
      .meta({ description: "Seconds from one run to the next.", examples: [86_400] }),
    cron: text
      .superRefine(requireCron)
      .optional()
      .meta({
        description: "A cron expression: five fields, or six with seconds first.",
        examples: ["0 2 * * *"],
      }),
    timeZone: text
      .refine(isTimeZone, "is no time zone")
      .optional()
      .meta({
        description: "With cron: the time zone it is meant in, by its IANA name. Default: UTC.",
        examples: ["Europe/Berlin"],
      }),
    jitter: z
      .int()
      .min(0)
      .max(86_400)
      .optional()
      .meta({
        description: "Begins up to that many seconds later, always the same for one series on one host. Default: 0.",
        examples: [300],
      }),
    firstRun: z
      .enum(["now", "scheduled"])
      .optional()
      .meta({ description: "If there is no backup yet: at once, or when it is due next. Default: now." }),
  })
  .superRefine(({ interval, cron, timeZone, jitter = 0 }, context) => {
    const add = (path: string[], message: string): void => context.addIssue({ code: "custom", path, message });
    if (interval === undefined && cron === undefined) add([], "says neither interval nor cron");
    if (interval !== undefined && cron !== undefined) add(["cron"], "and interval exclude each other");
    if (interval !== undefined && timeZone !== undefined) add(["timeZone"], "is for cron, not for an interval");
    if (interval !== undefined && jitter > 0 && jitter >= interval) add(["jitter"], "must be shorter than interval");
  })
  .meta({
    description: "When it is due: interval or cron.",
    examples: [{ interval: 86_400 }, { cron: "0 2 * * *", timeZone: "Europe/Berlin" }],
  }) as unknown as z.ZodType<ScheduleConfig>;

const series: z.ZodType<SeriesConfig> = z
  .strictObject({
    source: plugin("source", [{ use: "zookeeper", zooCfg: "/etc/zookeeper/conf/zoo.cfg" }]),
    sink: plugin("sink", [{ use: "fs", path: "/backups" }]),
    prefix: z
      .string()
      .regex(PREFIX, 'is no prefix: 1 to 128 letters, digits, ".", "_", "-", beginning with a letter or digit')
      .optional()
      .meta({ description: "What ids and keys begin with. Default: the series' name.", examples: ["zk-prod"] }),
    compression: z
      .union([z.enum(["gzip", "none"]), z.strictObject({ gzip: z.strictObject({ level: z.int().min(1).max(9) }) })])
      .optional()
      .meta({
        description: "How the archive is compressed. Default: gzip at level 5.",
        examples: ["gzip", { gzip: { level: 9 } }],
      }),
    mode: z
      .enum(["hot", "cold"])
      .optional()
      .meta({ description: "The source's option mode, in short: hot leaves the server alone, cold stops it." }),
    retention: retentionRulesSchema.optional().meta({
      description: "Which backups to keep, in restic's words. Without it none is deleted.",
      examples: [{ keepLast: 7, daily: 30, monthly: 12 }],
    }),
    schedule: schedule.optional(),
    verify: z
      .strictObject({ schedule })
      .optional()
      .meta({
        description: "When the newest backup is read back and checked. Default: never.",
        examples: [{ schedule: { interval: 604_800 } }],
      }),
    runOn: z
      .union([text, z.int().min(0)])
      .optional()
      .meta({
        description:
          "Which of several daemons with this series runs it: always this one, the elected one, or the one on the host, or beside the server with the myid, that is named. Default: always.",
        examples: ["elected", "always", "zk1.example.com", 1],
      }),
    ifElectionDown: z
      .enum(["wait", "run"])
      .optional()
      .meta({ description: "With runOn elected, while the election cannot be reached. Default: wait." }),
    staleAfter: z
      .string()
      .refine((duration) => parseDuration(duration) !== null, "is no duration: write 36h, 14d, 2w, 6m (months) or 1y6m")
      .optional()
      .meta({
        description:
          "How old the newest good backup may become before it is told: 36h, 2d, 1w, 6m (months). Default: until two runs in a row and an hour are missed.",
        examples: ["36h"],
      }),
  })
  .superRefine(({ mode, source, runOn, ifElectionDown }, context) => {
    const add = (path: string, message: string): void => context.addIssue({ code: "custom", path: [path], message });
    if (mode !== undefined && source.mode !== undefined && source.mode !== mode)
      add("mode", "is another one than source.mode: say it once");
    if (ifElectionDown !== undefined && runOn !== "elected") add("ifElectionDown", "needs runOn: elected beside it");
  })
  .meta({ description: "The history of one source in one sink." });

/** Checks {@link WrittenHttp}. */
export const httpSchema: z.ZodType<WrittenHttp> = z
  .strictObject({
    host: text.default("127.0.0.1").meta({ description: "Address to listen on.", examples: ["127.0.0.1"] }),
    port: z
      .int()
      .min(0)
      .max(65_535)
      .default(9642)
      .meta({ description: "Port to listen on. 0 takes a free one.", examples: [9642] }),
    tls: z
      .strictObject({
        certFile: text.meta({ description: "PEM file with the certificate and its chain." }),
        keyFile: text.meta({ description: "PEM file with its key." }),
      })
      .optional()
      .meta({
        description: "Makes it HTTPS. Paths are relative to the configuration's folder.",
        examples: [{ certFile: "/etc/zk-backyp/tls.crt", keyFile: "/etc/zk-backyp/tls.key" }],
      }),
    token: secret.optional().meta({
      description:
        "What whoever changes something has to show as a bearer token: 16 characters or more. Without it nothing can be changed by HTTP.",
      examples: [{ env: "ZK_BACKYP_TOKEN" }],
    }),
  })
  .meta({ description: "Where the daemon listens.", examples: [{ host: "127.0.0.1", port: 9642 }] });

const on: z.ZodType<NotifiedEvent[] | undefined> = z
  .array(z.enum(["failure", "stale", "recovery"]))
  .min(1, "is empty: leave it out for all three")
  .optional()
  .meta({ description: "Of what. Default: all three.", examples: [["failure", "stale"]] });

/** Checks {@link WrittenNotification}. */
export const notificationSchema: z.ZodType<WrittenNotification> = z
  .discriminatedUnion("use", [
    z.strictObject({
      use: z.literal("webhook"),
      url: secret.meta({
        description: "Where the JSON is sent, by POST.",
        examples: ["https://hooks.example.com/zookeeper"],
      }),
      headers: z
        .record(z.string().regex(/^[A-Za-z0-9!#$%&'*+.^_`|~-]+$/, "is no name of a header"), secret)
        .optional()
        .meta({ description: "Sent with it.", examples: [{ authorization: { env: "HOOK_AUTHORIZATION" } }] }),
      body: z
        .unknown()
        .optional()
        .meta({
          description: "JSON, in whose texts {{series}} and the like are replaced. Default: all that is known.",
          examples: [{ text: "{{series}}: {{message}}" }],
        }),
      on,
    }),
    z.strictObject({
      use: z.literal("command"),
      command: z
        .array(z.string())
        .min(1, "is empty")
        .meta({
          description: "A program and its arguments. It finds on stdin, as JSON, all that is known.",
          examples: [["/usr/local/bin/page-somebody", "--team", "storage"]],
        }),
      on,
    }),
  ])
  .meta({
    description: "Somebody who is told of failures.",
    examples: [{ use: "webhook", url: "https://hooks.example.com/zookeeper" }],
  });

/** Checks the form of a configuration. It knows neither plugins' options nor secrets. */
export const configSchema: z.ZodType<WrittenConfig> = z
  .strictObject({
    $schema: z.string().optional().meta({ description: "Address of this schema, for editors." }),
    series: z
      .record(z.string().min(1), series)
      .optional()
      .meta({
        description: "What is backed up, by names of your choice.",
        examples: [
          {
            "zk-prod": {
              source: { use: "zookeeper", dataDir: "/var/lib/zookeeper" },
              sink: { use: "fs", path: "/backups" },
            },
          },
        ],
      }),
    helper: z.looseObject({}).optional().meta({ description: "Of `zk-backyp helper` alone; see docs/cold-mode.md." }),
    http: z
      .union([z.literal(false), httpSchema])
      .default({ host: "127.0.0.1", port: 9642 })
      .meta({
        description: "Where the daemon listens; false: nowhere.",
        examples: [{ host: "127.0.0.1", port: 9642 }],
      }),
    notifications: z.array(notificationSchema).default([]).meta({ description: "Who is told of failures." }),
    stateDir: text.optional().meta({
      description:
        "Folder where the daemon keeps what it remembers over a restart. Default: systemd's STATE_DIRECTORY, else nowhere.",
      examples: ["/var/lib/zk-backyp"],
    }),
    log: z
      .strictObject({
        level: z
          .enum(["debug", "info", "warn", "error"])
          .default("info")
          .meta({ description: "The least important lines that are logged. Default: info." }),
      })
      .default({ level: "info" })
      .meta({ description: "The daemon's log, on stdout.", examples: [{ level: "info" }] }),
  })
  .superRefine((content, context) => {
    if (content.series === undefined && content.helper === undefined)
      context.addIssue({ code: "custom", path: ["series"], message: "there are none" });
    for (const [name, { prefix }] of Object.entries(content.series ?? {})) {
      if (prefix !== undefined || PREFIX.test(name)) continue;
      const message =
        'is no name that ids could begin with: use 1 to 128 letters, digits, ".", "_", "-", beginning with a letter or digit, or say prefix';
      context.addIssue({ code: "custom", path: ["series", name], message });
    }
  })
  .transform(({ series = {}, $schema: _schema, ...content }) => ({ series, ...content })) as z.ZodType<WrittenConfig>;

function requireCron(expression: string, context: z.RefinementCtx<string>): void {
  try {
    cronSchedule(expression);
  } catch (error) {
    if (!isBackypError(error)) throw error;
    context.addIssue({ code: "custom", message: error.message });
  }
}

function isTimeZone(name: string): boolean {
  try {
    new Intl.DateTimeFormat("en", { timeZone: name });
    return true;
  } catch {
    return false;
  }
}
