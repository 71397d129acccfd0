export type { Archiver } from "./archiver.ts";
export { abortable, type Bytes, CHUNK_BYTES, collect, type Measure, measured, rechunk } from "./bytes.ts";
export type { Codec } from "./codec.ts";
export { type Entry, isEntryPath, requireEntryPath } from "./entry.ts";
export {
  abortError,
  BackypError,
  type ErrorCode,
  type ErrorDetails,
  isBackypError,
  systemErrorCode,
} from "./errors.ts";
export { canonicalJson, type JsonObject, type JsonValue } from "./json.ts";
export {
  type CodecPlugin,
  defineCodec,
  defineSink,
  defineSource,
  type OptionSchema,
  PLUGIN_API_VERSION,
  type Plugin,
  parseWith,
  type SinkPlugin,
  type SourcePlugin,
} from "./plugin.ts";
export { comparePositions, type Position, type PositionRange } from "./position.ts";
export { type Logger, type RunContext, silentLogger } from "./run-context.ts";
export { type GetOptions, type ObjectInfo, type PutOptions, requireKey, type Sink } from "./sink.ts";
export type {
  Capture,
  CaptureRequest,
  Problem,
  RestoreFolders,
  RestoreStep,
  Source,
  TimeRange,
  Verdict,
  Verifier,
} from "./source.ts";
