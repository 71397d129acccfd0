import { createHash } from "node:crypto";
import { abortError, BackypError } from "../errors.ts";
import { syncFolders, writeEntry } from "../restore-files.ts";
import type { RunContext } from "../run-context.ts";
import type { Capture, CaptureRequest, Problem, Source, Verifier } from "../source.ts";

/** A source that holds what a test says. */
export interface ScriptedSource extends Source {
  /** Path to content. Change it to make the source change. */
  readonly files: Map<string, Uint8Array>;
  /** Errors of the next captures, in turn, each thrown while the last file is read. */
  readonly failures: Error[];
  /** Never skips. */
  capture(request: CaptureRequest, context: RunContext): Promise<Capture>;
  /** Captures that were begun and not closed. */
  openCaptures(): number;
}

/**
 * A source of a few files in memory, for tests of pipelines and sinks. Its contents are the number of files and a
 * digest over them. A file with the word "poison" in it counts as damaged, one with "rotten" as damaged but worth
 * keeping where damage is allowed.
 */
export function scriptedSource(files: Readonly<Record<string, string | Uint8Array>>): ScriptedSource {
  const held = new Map(Object.entries(files).map(([path, content]) => [path, Buffer.from(content as Uint8Array)]));
  const failures: Error[] = [];
  let open = 0;
  return {
    name: "scripted",
    files: held,
    failures,
    restoreRoles: ["other"],
    restoreKeeps: ["kept"],
    openCaptures: () => open,

    async capture(_request, { signal }) {
      const captured = [...held];
      const failure = failures.shift();
      open += 1;
      return {
        facts: { files: captured.length },
        estimatedBytes: captured.reduce((sum, [, content]) => sum + content.byteLength, 0),
        verifier: scriptedVerifier(),
        async *entries() {
          for (const [index, [path, content]] of captured.entries()) {
            const last = index === captured.length - 1;
            const body = (async function* () {
              if (signal.aborted) throw abortError(signal);
              yield content;
              if (last && failure !== undefined) throw failure;
            })();
            yield { path, size: content.byteLength, mtime: new Date(1_700_000_000_000), body };
          }
        },
        async close() {
          open -= 1;
        },
      };
    },

    verifier: scriptedVerifier,

    async restore(steps, folders, { signal }) {
      for await (const step of steps) {
        for await (const entry of step.entries) {
          const folder = entry.path.startsWith("other/") ? (folders.other ?? folders.main) : folders.main;
          await writeEntry(entry, folder, signal);
        }
      }
      await syncFolders(Object.values(folders));
    },

    async close() {},
  };
}

function scriptedVerifier(): Verifier {
  const hash = createHash("sha256");
  const problems: Problem[] = [];
  let files = 0;
  return {
    watch(entry) {
      files += 1;
      hash.update(`${entry.path}\0${entry.size}\0`);
      const body = (async function* () {
        for await (const chunk of entry.body) {
          if (Buffer.from(chunk).includes("poison")) {
            throw new BackypError("ERR_SOURCE_DAMAGED", `${entry.path} is poisoned`);
          }
          if (Buffer.from(chunk).includes("rotten")) {
            problems.push({
              severity: "data-loss",
              code: "ROTTEN",
              file: entry.path,
              offset: null,
              message: "it is rotten",
            });
          }
          hash.update(chunk);
          yield chunk;
        }
      })();
      return { ...entry, body };
    },
    finish() {
      if (files === 0) throw new BackypError("ERR_SOURCE_DAMAGED", "there are no files");
      const contents = { files, digest: hash.digest("hex") };
      return { range: { after: null, upTo: String(files) }, times: null, contents, problems };
    },
  };
}
