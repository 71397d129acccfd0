import { EventEmitter } from "eventemitter3";
import type { BackypError } from "./errors.ts";
import type { JsonObject } from "./json.ts";
import type { Manifest } from "./manifest.ts";
import type { PruneResult } from "./prune.ts";
import type { Logger } from "./run-context.ts";

/** How far a run has come. */
export interface Progress {
  readonly prefix: string;
  readonly backupId: string;
  /** Plain bytes of the files so far: read from the source, or out of the archive. */
  readonly bytes: number;
  /** What `bytes` will roughly come to. */
  readonly totalBytes: number;
  /** Path of the file that is on its way. */
  readonly path: string;
}

interface RunStart {
  readonly prefix: string;
  readonly backupId: string;
}
interface RunFailure extends RunStart {
  readonly error: BackypError;
}

/** What happens in a series. Events inform and never steer: what a listener throws is logged, and the run goes on. */
export interface SeriesEvents {
  /** `attempt` counts from 1: a source that changes while it is captured is captured again under a new id. */
  "backup:start": (event: RunStart & { readonly attempt: number }) => void;
  "backup:progress": (event: Progress) => void;
  "backup:complete": (event: { readonly manifest: Manifest }) => void;
  /** Something the source did that matters beyond the run, such as stopping a server and starting it again. */
  "backup:step": (event: RunStart & { readonly step: string; readonly facts: JsonObject }) => void;
  /** There was nothing to do, for a `reason` that the source documents: `nothing-new`, ... */
  "backup:skipped": (event: { readonly prefix: string; readonly reason: string; readonly message: string }) => void;
  "backup:failed": (event: RunFailure) => void;
  "verify:start": (event: RunStart) => void;
  "verify:progress": (event: Progress) => void;
  /** With `deep`: all is read and checked, and the source begins to try it out. */
  "verify:rehearsal": (event: RunStart) => void;
  "verify:complete": (event: { readonly manifest: Manifest; readonly rehearsal: JsonObject | null }) => void;
  "verify:failed": (event: RunFailure) => void;
  "restore:start": (event: RunStart) => void;
  "restore:progress": (event: Progress) => void;
  "restore:complete": (event: { readonly manifest: Manifest }) => void;
  "restore:failed": (event: RunFailure) => void;
  "prune:start": (event: { readonly prefix: string; readonly dryRun: boolean }) => void;
  /** A backup is gone, or with `dryRun` would be. `bytes`: size of its archive. */
  "prune:deleted": (event: RunStart & { readonly bytes: number }) => void;
  /** What a run that died had left is gone, or with `dryRun` would be. */
  "prune:swept": (event: { readonly prefix: string; readonly key: string }) => void;
  /** One thing could not be deleted. The prune goes on, and the next one tries it again. */
  "prune:problem": (event: { readonly prefix: string; readonly key: string; readonly error: BackypError }) => void;
  "prune:complete": (event: { readonly prefix: string; readonly result: PruneResult }) => void;
  "prune:failed": (event: { readonly prefix: string; readonly error: BackypError }) => void;
}

/** Where to subscribe. */
export interface SeriesEmitter {
  on<Name extends keyof SeriesEvents>(name: Name, listener: SeriesEvents[Name]): void;
  once<Name extends keyof SeriesEvents>(name: Name, listener: SeriesEvents[Name]): void;
  off<Name extends keyof SeriesEvents>(name: Name, listener: SeriesEvents[Name]): void;
}

type Listener = (event: never) => unknown;
type Payload<Name extends keyof SeriesEvents> = Parameters<SeriesEvents[Name]>[0];

/** An emitter, and the only way to emit on it. No listener can harm the run or keep an event from the others. */
export function createEvents(logger: Logger): {
  events: SeriesEmitter;
  emit: <Name extends keyof SeriesEvents>(name: Name, event: Payload<Name>) => void;
} {
  const emitter = new EventEmitter();
  const guarded = new WeakMap<Listener, () => void>();
  const guard = (name: string, listener: Listener): (() => void) => {
    const failed = (error: unknown): void =>
      logger.warn({ err: error, event: name }, `a listener of ${name} failed; the run goes on`);
    const guardedListener = async (event?: unknown): Promise<void> => {
      try {
        await listener(event as never);
      } catch (error) {
        failed(error);
      }
    };
    guarded.set(listener, guardedListener);
    return guardedListener;
  };
  return {
    events: {
      on: (name, listener) => void emitter.on(name, guard(name, listener)),
      once: (name, listener) => void emitter.once(name, guard(name, listener)),
      off: (name, listener) => void emitter.off(name, guarded.get(listener)),
    },
    emit: (name, event) => void emitter.emit(name, event),
  };
}

const PROGRESS_INTERVAL_MS = 200;

/** Lets a call through at most every 200 ms, so that progress costs nothing however small the chunks. */
export function throttled(report: () => void): () => void {
  let last = Number.NEGATIVE_INFINITY;
  return () => {
    const now = performance.now();
    if (now - last < PROGRESS_INTERVAL_MS) return;
    last = now;
    report();
  };
}
