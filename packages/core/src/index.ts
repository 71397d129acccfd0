export type { Archiver } from "./archiver.ts";
export type { BackupOptions } from "./backup.ts";
export { backupId, keys, prefixOfBackupId, requirePrefix, timeOfBackupId } from "./backup-id.ts";
export { abortable, type Bytes, CHUNK_BYTES, collect, type Measure, measured, oneChunk, rechunk } from "./bytes.ts";
export type { Candidacy, CandidacyState } from "./candidacy.ts";
export { type Catalog, type CatalogItem, openCatalog, type SummaryItem } from "./catalog.ts";
export type { CatalogSummary } from "./catalog-summary.ts";
export type { CheckItem, SinkCheckContext } from "./check.ts";
export { childEnvironment } from "./child-environment.ts";
export type { Codec } from "./codec.ts";
export { cronSchedule } from "./cron-schedule.ts";
export { damageIn, isSerious } from "./damage.ts";
export { type Entry, isEntryPath, requireEntryPath } from "./entry.ts";
export {
  abortError,
  BackypError,
  type ErrorCode,
  type ErrorDetails,
  isBackypError,
  systemErrorCode,
  withCode,
} from "./errors.ts";
export type { Progress, SeriesEmitter, SeriesEvents } from "./events.ts";
export { type GzipOptions, gzip } from "./gzip.ts";
export { intervalSchedule } from "./interval-schedule.ts";
export type { JsonObject, JsonValue } from "./json.ts";
export {
  MANIFEST_FORMAT_VERSION,
  type Manifest,
  type ManifestArchive,
  type ManifestEntry,
  manifestJsonSchema,
  parseManifest,
  serializeManifest,
} from "./manifest.ts";
export { describePin, isInForce, type Pin, type PinItem } from "./pins.ts";
export {
  defineSink,
  defineSource,
  type OptionSchema,
  PLUGIN_API_VERSION,
  type Plugin,
  type PluginContext,
  parseWith,
  type SinkPlugin,
  type SourcePlugin,
  type WrongField,
} from "./plugin.ts";
export type { Position, PositionRange } from "./position.ts";
export type { PruneResult } from "./prune.ts";
export type { BackupReading } from "./read-backup.ts";
export type { ReplacedBackup, RestoreTargets } from "./restore.ts";
export { syncFolders, writeEntry } from "./restore-files.ts";
export { planRetention, type RetentionBackup, type RetentionDecision } from "./retention.ts";
export { after, type Duration, parseDuration } from "./retention-duration.ts";
export { parseRetentionRules, type RetentionRules, retentionRulesSchema } from "./retention-rules.ts";
export { type BackupRun, type CaptureContext, type Logger, type RunContext, silentLogger } from "./run-context.ts";
export type { Schedule } from "./schedule.ts";
export {
  type Clock,
  type PlannedRun,
  type Scheduler,
  type SchedulerOptions,
  startScheduler,
  systemClock,
} from "./scheduler.ts";
export { openSeries, type Series, type SeriesOptions } from "./series.ts";
export {
  type GetOptions,
  isKey,
  type ListOptions,
  type ObjectInfo,
  type PutOptions,
  requireKey,
  type Sink,
  type SweepOptions,
} from "./sink.ts";
export type {
  Capture,
  CaptureRequest,
  Problem,
  Rehearsal,
  Replacement,
  ReplaceTargets,
  RestoreFolders,
  RestoreStep,
  Skipped,
  Source,
  TimeRange,
  Verdict,
  Verifier,
} from "./source.ts";
export { tar } from "./tar.ts";
export { unlessAborted } from "./unless-aborted.ts";
export type { Verification } from "./verify.ts";
