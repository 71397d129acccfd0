import { manifestJsonSchema } from "@zk-backyp/core";
import { z } from "zod";
import type {
  BackupSummary,
  CurrentRun,
  DaemonStatus,
  ElectionStatus,
  NextRun,
  RunError,
  RunRecord,
  SeriesStatus,
} from "../daemon/daemon-view.ts";

// What is answered, for the OpenAPI document: the types of the daemon's view in words that other programs can check. Each
// is of the type that it describes, and answers are held against the document in tests.

const time = z.iso.datetime();
const bytes = z.int().nonnegative();
const ms = z.number().nonnegative();
const trigger = z
  .enum(["schedule", "catch-up", "retry", "first", "request"])
  .describe("Why it began. catch-up: the daemon was not there, or could not, when it should have begun");
const kind = z.enum(["backup", "verify", "prune"]);
const slot = time.nullable().describe("The point of the schedule that it is for; null if it was asked for");

const runError: z.ZodType<RunError> = z.object({
  code: z.string() as unknown as z.ZodType<RunError["code"]>,
  message: z.string().describe("What failed, on what"),
  remedy: z.string().describe("What to do"),
});

const currentRun: z.ZodType<CurrentRun> = z.object({
  runId: z.string().describe("Unique, and in every line of the log that is about it"),
  kind,
  trigger,
  slot,
  startedAt: time,
  backupId: z.string().nullable().describe("What it makes or reads; null before that is known"),
  bytes,
  totalBytes: bytes.describe("What bytes will roughly come to; 0 before that is known"),
  step: z.string().nullable().describe("The last step of the source, such as stopped"),
});

const runRecord: z.ZodType<RunRecord> = z.object({
  runId: z.string(),
  kind,
  trigger,
  slot,
  startedAt: time,
  finishedAt: time,
  durationMs: ms,
  outcome: z
    .enum(["ok", "failed", "damaged", "skipped", "postponed", "taken", "lost", "aborted"])
    .describe(
      "damaged: a verification found damage. skipped: there was nothing to do, or not now. taken: another daemon has stored this backup. lost: another node was elected meanwhile",
    ),
  backupId: z.string().nullable(),
  bytes: bytes.nullable().describe("Of a backup, those of its archive; of a prune, those it freed"),
  downtimeMs: ms.nullable().describe("How long the server was down for it; null if it was not stopped"),
  message: z.string(),
  error: runError.nullable(),
});

const nextRun: z.ZodType<NextRun> = z.object({
  slot: time,
  at: time.describe("When it begins: later than the slot by jitter, or because a run failed"),
  trigger,
});

const electionStatus: z.ZodType<ElectionStatus> = z.object({
  state: z.enum(["elected", "waiting", "unreachable"]),
  since: time,
  holder: z.string().nullable().describe("Host of the elected one, as far as it is known"),
  problem: z.string().nullable(),
});

const health = z
  .enum(["ok", "failing", "stale", "unknown"])
  .describe(
    "failing: the last run has failed. stale: there is no good backup that is as new as it has to be; worse than failing. unknown: nothing has run yet",
  );

const seriesStatus: z.ZodType<SeriesStatus> = z.object({
  name: z.string(),
  prefix: z.string().describe("What ids of its backups begin with"),
  source: z.string().describe("Name of the source plugin"),
  sink: z.string().describe("Where the backups are"),
  mode: z.string(),
  schedule: z.string().describe("For people"),
  runOn: z.string(),
  notHere: z.string().nullable().describe("Why this node never runs it; null if it may"),
  health,
  healthText: z.string().describe("What is wrong and what to do, or that all is well"),
  election: electionStatus.nullable(),
  next: nextRun.nullable().describe("Null while something runs, while the daemon is held, and where nothing will"),
  current: currentRun.nullable(),
  lastRun: runRecord.nullable(),
  failuresInARow: z.int().nonnegative(),
  lastGood: z
    .object({ id: z.string(), startedAt: time, upToTime: time.nullable() })
    .nullable()
    .describe("The newest good backup in the store, whoever made it"),
  staleAt: time.nullable().describe("When a newer one has to be there"),
  lastVerified: z.object({ id: z.string(), at: time }).nullable(),
  totals: z
    .object({
      backups: z.int().nonnegative(),
      bytes,
      damaged: z.int().nonnegative(),
      seenAt: time,
    })
    .nullable()
    .describe("As far as the store was last seen"),
});

const daemonStatus: z.ZodType<DaemonStatus> = z.object({
  version: z.string(),
  host: z.string(),
  startedAt: time,
  state: z
    .enum(["running", "holding", "held", "stopping"])
    .describe(
      "holding: it begins nothing for now, and something is still under way, or a server not back yet. held: neither is so",
    ),
  hold: z
    .object({
      since: time,
      until: time.describe("When the daemon goes on by itself"),
      abort: z.boolean().describe("Whether what was under way is, or was, aborted"),
      problem: z
        .string()
        .nullable()
        .describe("Once it is held: which server is not back that a run had stopped, and why"),
    })
    .nullable()
    .describe("Null if it is not held"),
  config: z.object({
    path: z.string(),
    loadedAt: time,
    refused: z.object({ at: time, message: z.string() }).nullable().describe("Why a later one was not taken"),
  }),
  series: z.array(seriesStatus),
});

const backupSummary: z.ZodType<BackupSummary> = z.object({
  id: z.string(),
  startedAt: z.union([time, z.literal("")]),
  finishedAt: z.union([time, z.literal("")]),
  bytes: bytes.describe("Of the archive"),
  plainBytes: bytes.describe("Of the files in it"),
  downtimeMs: ms.nullable(),
  upTo: z.string().describe("The last zxid"),
  upToTime: time.nullable().describe("Time of the last change that it holds"),
  verified: z.boolean().describe("Whether it was found to restore without loss when it was taken"),
  verifiedAt: time.nullable().describe("When this daemon last read it back and found it good"),
  pinned: z.string().nullable(),
  problem: z.string().nullable().describe("Why its manifest cannot be read: then all else but the id is empty"),
  restoreCommand: z.string().describe("What restores it on that host"),
});

/** Whether the daemon can do its work. */
export interface Readiness {
  readonly ready: boolean;
  /** Why not. */
  readonly reasons: readonly string[];
  /** How each series is. One that fails does not make the daemon unready. */
  readonly series: readonly Pick<SeriesStatus, "name" | "health">[];
}

const readiness: z.ZodType<Readiness> = z.object({
  ready: z.boolean(),
  reasons: z.array(z.string()).describe("Why not"),
  series: z
    .array(z.object({ name: z.string(), health }))
    .describe("How each is; one that fails does not make the daemon unready"),
});

/** Name of a schema in the OpenAPI document. */
export type AnswerName =
  | "CurrentRun"
  | "RunRecord"
  | "SeriesStatus"
  | "DaemonStatus"
  | "BackupSummary"
  | "Readiness"
  | "Backups"
  | "Runs"
  | "Error"
  | "Manifest";

const answers: Readonly<Record<Exclude<AnswerName, "Manifest">, z.ZodType>> = {
  CurrentRun: currentRun,
  RunRecord: runRecord,
  SeriesStatus: seriesStatus,
  DaemonStatus: daemonStatus,
  BackupSummary: backupSummary,
  Readiness: readiness,
  Backups: z.object({
    items: z.array(backupSummary).describe("Newest first"),
    total: z.int().nonnegative().describe("How many the store holds"),
  }),
  Runs: z.object({ items: z.array(runRecord).describe("Newest first") }),
  Error: z.object({
    error: z.object({
      code: z.string().describe("A stable word that a program can branch on"),
      message: z.string().describe("What is wrong and what to do"),
    }),
  }),
};

/** The schemas of all answers, each with its name as `$id`; they refer to each other by it. */
export function answerSchemas(): object[] {
  const registry = z.registry<{ id: string }>();
  for (const [id, schema] of Object.entries(answers)) registry.add(schema, { id });
  const { schemas } = z.toJSONSchema(registry, {
    io: "input",
    uri: (id) => `${id}#`,
    override: ({ jsonSchema }) => {
      // "date-time" says it; the expression for it is a line long.
      if (jsonSchema.format === "date-time") delete jsonSchema.pattern;
    },
  });
  return [
    ...Object.entries(schemas).map(([id, { $schema: _, ...schema }]) => ({ ...schema, $id: id })),
    manifestSchema(),
  ];
}

/** The documented schema of a manifest, as one without parts of its own: what a source says of itself is any object. */
function manifestSchema(): object {
  const { properties } = manifestJsonSchema() as { properties: Record<string, object> };
  const { $schema: _, $defs: __, ...schema } = manifestJsonSchema() as Record<string, unknown>;
  const anyObject = { type: "object", additionalProperties: true };
  return {
    ...schema,
    $id: "Manifest",
    properties: {
      ...properties,
      facts: anyObject,
      contents: anyObject,
      proof: { anyOf: [anyObject, { type: "null" }] },
    },
  };
}
