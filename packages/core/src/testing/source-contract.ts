import assert from "node:assert/strict";
import { mkdtemp, readdir, readlink, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { collect } from "../bytes.ts";
import { isSerious } from "../damage.ts";
import { type Entry, isEntryPath } from "../entry.ts";
import { isBackypError } from "../errors.ts";
import { type BackupRun, type CaptureContext, silentLogger } from "../run-context.ts";
import { openSeries } from "../series.ts";
import type { Capture, CaptureRequest, Source } from "../source.ts";
import type { ContractCase } from "./contract-case.ts";
import { withFaults } from "./faults.ts";
import { memorySink } from "./memory-sink.ts";

/** A source with something in it, and how to tell that a restore brought it back. */
export interface SourceUnderTest {
  readonly source: Source;
  /** Rejects unless `directory` holds what the source held when it was captured. */
  checkRestored(directory: string): Promise<void>;
  /** The same after the backup has replaced what was there. Default: {@link checkRestored}. */
  checkReplaced?(directory: string): Promise<void>;
}

/**
 * What every source must do. Run each case in the test runner of your choice.
 *
 * @param createSource a source with a few files in it, none over 16 MiB; called once for each case, which closes it
 * @param options `replaces`: the source can replace data that is there; there is a case for that then
 */
export function sourceContract(
  createSource: () => Promise<SourceUnderTest>,
  { replaces = false }: { readonly replaces?: boolean } = {},
): ContractCase[] {
  const contractCase = (name: string, check: (test: SourceUnderTest) => Promise<void>): ContractCase => ({
    name,
    async run() {
      const test = await createSource();
      try {
        await check(test);
      } finally {
        await test.source.close();
      }
    },
  });

  const replacing = contractCase(
    "replaces data that is there, and leaves it as it is for a backup that is no good",
    async ({ source, checkRestored, checkReplaced = checkRestored }) => {
      const sink = memorySink();
      const series = openSeries({ prefix: "contract", source, sink });
      const manifest = await series.backup();
      assert.ok(manifest !== null, "there was nothing to back up");
      const folder = await mkdtemp(join(tmpdir(), "zk-backyp-contract-"));
      try {
        const main = join(folder, "restored");
        await series.restore(manifest.id, { main });
        const before = await namesBelow(main);
        // The manifest is the first thing that is read, and the newest backup's is the second.
        const faulty = withFaults(sink, { get: [null, null, { flipByteAt: manifest.archive.size >> 1 }] });
        await assert.rejects(openSeries({ prefix: "contract", source, sink: faulty }).replace(manifest.id, { main }));
        assert.deepEqual(await namesBelow(main), before, "something was left, or taken");
        await checkRestored(main);
        const { replaced } = await series.replace(manifest.id, { main });
        assert.deepEqual(JSON.parse(JSON.stringify(replaced)), replaced);
        await checkReplaced(main);
        assert.deepEqual(await readdir(folder), ["restored"], "something was written beside the target");
      } finally {
        await rm(folder, { recursive: true });
      }
    },
  );

  return [
    ...(replaces ? [replacing] : []),
    contractCase("yields entries with plain, unique paths and true sizes", async ({ source }) => {
      const entries = await captured(source);
      assert.ok(entries.length > 0, "captured nothing");
      assert.equal(new Set(entries.map(({ path }) => path)).size, entries.length, "a path comes twice");
      for (const { path, size, content } of entries) {
        assert.ok(isEntryPath(path), `${path} is no entry path`);
        assert.equal(content.byteLength, size, `${path} is not as long as it said`);
      }
    }),

    contractCase("opens nothing before it is pulled, and closes what it opened", async ({ source }) => {
      const before = await openFiles();
      const unread = await capture(source);
      await unread.close();
      const left = await capture(source);
      for await (const entry of left.entries()) {
        for await (const _ of entry.body) break;
        break;
      }
      await left.close();
      // Others in this process may close theirs meanwhile: only what was not open before counts.
      const opened = (await openFiles()).filter((file) => !before.includes(file));
      assert.deepEqual(opened, [], "files stayed open after close");
    }),

    contractCase("says of read-back bytes what it said while capturing", async ({ source }) => {
      const live = await capture(source);
      const entries = await drained(live.entries(), (entry) => live.verifier.watch(entry));
      const during = live.verifier.finish();
      await live.close();

      const verifier = source.verifier();
      await drained(replay(entries), (entry) => verifier.watch(entry));
      const after = verifier.finish();
      assert.deepEqual(after.range, during.range);
      assert.deepEqual(after.contents, during.contents);
    }),

    contractCase("has facts and contents that JSON holds without loss", async ({ source }) => {
      const live = await capture(source);
      await drained(live.entries(), (entry) => live.verifier.watch(entry));
      const { contents } = live.verifier.finish();
      await live.close();
      assert.deepEqual(JSON.parse(JSON.stringify(contents)), contents);
      assert.deepEqual(JSON.parse(JSON.stringify(live.facts)), live.facts);
    }),

    contractCase("passes bytes through its verifier unchanged", async ({ source }) => {
      const entries = await captured(source);
      const verifier = source.verifier();
      const through = await drained(replay(entries), (entry) => verifier.watch(entry));
      for (const [index, entry] of through.entries()) {
        assert.ok(entries[index]?.content.equals(entry.content), `${entry.path} was changed`);
      }
    }),

    contractCase("does not call a backup whole that lacks all its files", async ({ source }) => {
      const verifier = source.verifier();
      try {
        const { problems } = verifier.finish();
        const isRefused = problems.some(isSerious);
        assert.ok(isRefused, "finds nothing wrong with it");
      } catch (error) {
        if (!isBackypError(error, "ERR_SOURCE_DAMAGED")) throw error;
      }
    }),

    contractCase("gives up with ERR_ABORTED when it is aborted", async ({ source }) => {
      const signal = AbortSignal.abort();
      await assert.rejects(async () => {
        const live = await source.capture(request, { ...context, signal });
        if ("skipped" in live) return;
        try {
          for await (const entry of live.entries()) for await (const _ of entry.body);
        } finally {
          await live.close();
        }
      }, isAborted);
    }),

    contractCase("comes back through a whole pipeline: backup, verify, restore", async ({ source, checkRestored }) => {
      const series = openSeries({ prefix: "contract", source, sink: memorySink() });
      const manifest = await series.backup();
      assert.ok(manifest !== null, "there was nothing to back up");
      await series.verify(manifest.id);
      const folder = await mkdtemp(join(tmpdir(), "zk-backyp-contract-"));
      try {
        await series.restore(manifest.id, { main: join(folder, "restored") });
        assert.deepEqual(await readdir(folder), ["restored"], "something was written beside the target");
        await checkRestored(join(folder, "restored"));
      } finally {
        await rm(folder, { recursive: true });
      }
    }),
  ];
}

async function namesBelow(directory: string): Promise<string[]> {
  return (await readdir(directory, { recursive: true })).sort();
}

interface HeldEntry extends Omit<Entry, "body"> {
  readonly content: Buffer;
}

const request: CaptureRequest = { kind: "full", earlierFailures: [] };
const run: BackupRun = { report() {}, atEnd() {} };
const context: CaptureContext = { signal: new AbortController().signal, logger: silentLogger, run };

async function capture(source: Source): Promise<Capture> {
  const live = await source.capture(request, context);
  assert.ok(!("skipped" in live), "there was nothing to capture");
  return live;
}

async function captured(source: Source): Promise<HeldEntry[]> {
  const live = await capture(source);
  try {
    return await drained(live.entries(), (entry) => live.verifier.watch(entry));
  } finally {
    await live.close();
  }
}

async function drained(entries: AsyncIterable<Entry>, watch: (entry: Entry) => Entry): Promise<HeldEntry[]> {
  const held: HeldEntry[] = [];
  for await (const entry of entries) {
    const { path, size, mtime, body } = watch(entry);
    held.push({ path, size, mtime, content: await collect(body, 64 * 1024 * 1024) });
  }
  return held;
}

async function* replay(entries: readonly HeldEntry[]): AsyncGenerator<Entry, void, void> {
  for (const { content, ...entry } of entries) {
    const body = (async function* () {
      // Pieces of an odd size: no format's records end where these do.
      for (let offset = 0; offset < content.byteLength; offset += 65_537) {
        yield content.subarray(offset, offset + 65_537);
      }
    })();
    yield { ...entry, body };
  }
}

/** The regular files that this process has open, each with its descriptor; none where /proc cannot tell. */
async function openFiles(): Promise<string[]> {
  const names = await readdir("/proc/self/fd").catch(() => []);
  const files = await Promise.all(
    names.map(async (name) => `${name} ${await readlink(`/proc/self/fd/${name}`).catch(() => "")}`),
  );
  return files.filter((file) => /^\d+ \/(?!dev\/|proc\/)/.test(file));
}

function isAborted(error: unknown): boolean {
  return isBackypError(error, "ERR_ABORTED");
}
