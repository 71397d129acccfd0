import { appendFile, mkdir, mkdtemp, readdir, rename, rm, truncate, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { isBackypError, type Manifest, openSeries, type Series, type Sink } from "@zk-backyp/core";
import { memorySink } from "@zk-backyp/core/testing";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
// Files with good checksums, whatever they hold: the only way to get one server's rare moments without that server.
import { makeLog, makeRecord } from "../../zookeeper-files/src/testing/made-log.ts";
import { makeSnapshot } from "../../zookeeper-files/src/testing/made-snapshot.ts";
import { createZooKeeperSource } from "./index.ts";

const E1 = 0x1_0000_0000n;
const E2 = 0x2_0000_0000n;
const BIG = Buffer.alloc(3 * 1024 * 1024, "x");

let folder: string;
let version2: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "zk-backyp-live-"));
  version2 = join(folder, "version-2");
  await mkdir(version2);
});
afterEach(() => rm(folder, { recursive: true }));

const log = (from: bigint, to: bigint): Buffer =>
  makeLog(...Array.from({ length: Number(to - from) + 1 }, (_, n) => ({ zxid: from + BigInt(n) })));
const write = (file: string, content: Buffer): Promise<void> => writeFile(join(version2, file), content);
/** A snapshot large enough that its archiving takes several steps, in the first of which the server can act. */
const snapshotAt = (zxid: bigint): Buffer =>
  makeSnapshot({
    nodes: [
      { path: "", czxid: zxid },
      { path: "/big", data: BIG, czxid: zxid, mzxid: zxid, pzxid: zxid },
    ],
  });

/** The server rolls, restarts in another epoch, and purges everything older; log.10000000b came and went. */
async function beginAnotherEpoch(): Promise<void> {
  for (const name of await readdir(version2)) await rm(join(version2, name));
  await write("snapshot.200000000", snapshotAt(E1 + 16n));
  await write("log.200000001", log(E2 + 1n, E2 + 5n));
}

/** A sink during whose first put something happens. */
function whileStoring(act: () => Promise<void>): Sink {
  const sink = memorySink();
  let acted = false;
  return {
    ...sink,
    put: (key, body, options) =>
      sink.put(
        key,
        (async function* () {
          for await (const chunk of body) {
            if (!acted) {
              acted = true;
              await act();
            }
            yield chunk;
          }
        })(),
        options,
      ),
  };
}

function seriesWith(sink: Sink = memorySink()): Series {
  // Uncompressed and with little read ahead: what happens during the first put happens before the logs are read.
  return openSeries({ prefix: "zk", source: createZooKeeperSource({ dataDir: folder }), sink, codecs: [] });
}

async function backUp(series: Series): Promise<Manifest> {
  const manifest = await series.backup();
  if (manifest === null) throw new Error("nothing was backed up");
  await series.verify(manifest.id);
  return manifest;
}

const files = (manifest: Manifest): string[] => manifest.entries.map(({ path }) => path.replace("version-2/", ""));

describe("while a backup is under way, a server", () => {
  it("rolls its log: the new one is taken in if the snapshot needs it", async () => {
    await write("snapshot.100000005", snapshotAt(E1 + 8n));
    await write("log.100000001", log(E1 + 1n, E1 + 6n));
    const series = seriesWith(whileStoring(() => write("log.100000007", log(E1 + 7n, E1 + 9n))));
    const manifest = await backUp(series);
    expect(files(manifest)).toEqual(["snapshot.100000005", "log.100000001", "log.100000007"]);
    expect(manifest.range.upTo).toBe("0x100000009");
  });

  it("rolls and purges, over an epoch: no hole stays unseen", async () => {
    await write("snapshot.100000005", snapshotAt(E1 + 5n));
    await write("log.100000001", log(E1 + 1n, E1 + 10n));
    const series = seriesWith(whileStoring(beginAnotherEpoch));
    const manifest = await backUp(series);
    expect(files(manifest)).toEqual(["snapshot.100000005", "log.100000001"]);
    expect(manifest.range.upTo).toBe("0x10000000a");
  });

  it("rolls and purges what the snapshot needs: the capture begins again", async () => {
    await write("snapshot.100000005", snapshotAt(E1 + 12n));
    await write("log.100000001", log(E1 + 1n, E1 + 10n));
    const series = seriesWith(whileStoring(beginAnotherEpoch));
    const manifest = await backUp(series);
    expect(files(manifest)).toEqual(["snapshot.200000000", "log.200000001"]);
    expect(manifest.range.upTo).toBe("0x200000005");
  });

  it("takes back what was never agreed on: nothing of that is kept", async () => {
    await write("snapshot.100000005", snapshotAt(E1 + 5n));
    await write("log.100000001", log(E1 + 1n, E1 + 80n));
    await write("log.100000051", log(E1 + 81n, E1 + 90n));
    const series = seriesWith(
      whileStoring(async () => {
        await rm(join(version2, "log.100000051"));
        await write("log.200000001", log(E2 + 1n, E2 + 3n));
      }),
    );
    const manifest = await backUp(series);
    expect(files(manifest)).toEqual(["snapshot.100000005", "log.100000001", "log.200000001"]);
    expect(manifest.range.upTo).toBe("0x200000003");
  });

  it("cuts its newest log: the capture begins again", async () => {
    await write("snapshot.1", snapshotAt(1n));
    await write("log.1", log(1n, 50n));
    const series = seriesWith(whileStoring(() => truncate(join(version2, "log.1"), log(1n, 30n).byteLength)));
    expect((await backUp(series)).range.upTo).toBe("0x1e");
  });

  it("writes the snapshot again in place, or another one over it", async () => {
    await write("snapshot.1", snapshotAt(1n));
    const again = seriesWith(whileStoring(() => write("snapshot.1", snapshotAt(1n))));
    expect(files(await backUp(again))).toEqual(["snapshot.1"]);
    const replaced = seriesWith(
      whileStoring(async () => {
        await write("new", snapshotAt(1n));
        await rename(join(version2, "new"), join(version2, "snapshot.1"));
      }),
    );
    expect(files(await backUp(replaced))).toEqual(["snapshot.1"]);
  });

  it("is writing a compressed snapshot: the one before it is taken, at once", async () => {
    await write("snapshot.1", snapshotAt(1n));
    await write("log.1", log(1n, 9n));
    const unfinished = gzipSync(snapshotAt(9n), { level: 0 });
    await write("snapshot.9.gz", unfinished.subarray(0, 1_000_000));
    let offset = 1_000_000;
    const writing = setInterval(() => {
      void appendFile(join(version2, "snapshot.9.gz"), unfinished.subarray(offset, offset + 8192));
      offset += 8192;
    }, 5);
    try {
      const manifest = await backUp(seriesWith());
      expect(files(manifest)).toEqual(["snapshot.1", "log.1"]);
      expect(manifest.facts.passedOver).toMatchObject([{ file: "snapshot.9.gz" }]);
    } finally {
      clearInterval(writing);
    }
  });

  it("catches up with its log: a snapshot that was not covered is taken by the next run", async () => {
    await write("snapshot.5", snapshotAt(8n));
    await write("log.1", log(1n, 6n));
    const series = seriesWith();
    await expect(series.backup()).rejects.toSatisfy((error) => isBackypError(error, "ERR_SOURCE_DAMAGED"));
    await appendFile(join(version2, "log.1"), Buffer.concat([makeRecord({ zxid: 7n }), makeRecord({ zxid: 8n })]));
    expect((await backUp(series)).range.upTo).toBe("0x8");
  });

  it("catches up while the backup waits for it", async () => {
    await write("snapshot.5", snapshotAt(8n));
    await write("log.1", log(1n, 6n));
    const appending = (async () => {
      for (const zxid of [7n, 8n]) {
        await new Promise((resolve) => setTimeout(resolve, 700));
        await appendFile(join(version2, "log.1"), makeRecord({ zxid }));
      }
    })();
    expect((await backUp(seriesWith())).range.upTo).toBe("0x8");
    await appending;
  });
});

describe("of odd names, which 3.6 and later read and older releases do not,", () => {
  beforeEach(async () => {
    await write("snapshot.1", snapshotAt(1n));
    await write("log.1", log(1n, 9n));
  });

  it("a log that has no other is taken, under its plain name", async () => {
    await write("log.a.bak", log(10n, 12n));
    const manifest = await backUp(seriesWith());
    expect(files(manifest)).toEqual(["snapshot.1", "log.1", "log.a"]);
    expect(manifest.range.upTo).toBe("0xc");
  });

  it("a copy that holds no more than its log is left out", async () => {
    await write("log.1.bak", log(1n, 5n));
    await write("log.1.old", log(1n, 9n));
    expect(files(await backUp(seriesWith()))).toEqual(["snapshot.1", "log.1"]);
  });

  it("a copy that holds more than its log is no matter of taste", async () => {
    await write("log.1.bak", log(1n, 20n));
    await expect(seriesWith().backup()).rejects.toThrow(/log\.1\.bak: it holds more than the log of the same zxid/);
  });

  it("a snapshot that has no other is named", async () => {
    await rename(join(version2, "snapshot.1"), join(version2, "snapshot.1.bak"));
    await expect(seriesWith().backup()).rejects.toThrow(/under odd names, such as snapshot\.1\.bak/);
  });

  it("a snapshot is left out if the logs lead as far without it", async () => {
    await write("snapshot.5.tmp", snapshotAt(5n));
    await write("snapshot.20.tmp", snapshotAt(32n).subarray(0, 1000));
    expect(files(await backUp(seriesWith()))).toEqual(["snapshot.1", "log.1"]);
    await write("snapshot.20.tmp", snapshotAt(32n));
    await expect(seriesWith().backup()).rejects.toThrow(/snapshot\.20\.tmp: it cannot be used .* reach only 0x9/);
  });
});

it("a later epoch does not stand for the end of the one before it", async () => {
  await write("snapshot.100000005", snapshotAt(E1 + 8n));
  await write("log.100000001", log(E1 + 1n, E1 + 6n));
  await write("log.200000001", log(E2 + 1n, E2 + 5n));
  await expect(seriesWith().backup()).rejects.toThrow(/applied, but the logs|written while txns up to 0x100000008/);
});

it("nor does it stand for a whole epoch of which only a damaged snapshot tells", async () => {
  const E3 = 0x3_0000_0000n;
  await write("snapshot.100000005", snapshotAt(E1 + 5n));
  await write("log.100000001", log(E1 + 1n, E1 + 6n));
  const damaged = snapshotAt(E2 + 7n);
  damaged[100] = (damaged[100] ?? 0) ^ 1;
  await write("snapshot.200000007", damaged);
  await write("log.300000001", log(E3 + 1n, E3 + 5n));
  await expect(seriesWith().backup()).rejects.toThrow(/snapshot\.200000007: it cannot be used/);
});

it("a snapshot without a log is taken with a warning, and so are logs without a snapshot", async () => {
  const warnings: string[] = [];
  const logger = { debug() {}, info() {}, warn: (_: object, message: string) => void warnings.push(message) };
  const source = createZooKeeperSource({ dataDir: folder });
  const series = openSeries({ prefix: "zk", source, sink: memorySink(), logger });
  await write("snapshot.5", snapshotAt(5n));
  expect((await backUp(series)).problems).toMatchObject([{ severity: "info", code: "NO_LOGS" }]);
  await rm(join(version2, "snapshot.5"));
  await write("log.1", log(1n, 5n));
  expect((await backUp(series)).problems).toMatchObject([{ severity: "info", code: "LOGS_ONLY" }]);
  expect(warnings).toEqual([expect.stringMatching(/dataLogDir/), expect.stringMatching(/snapshot\.trust\.empty/)]);
});

it("a server's clock may be anything", async () => {
  await write("snapshot.1", snapshotAt(1n));
  await write("log.1", makeLog({ zxid: 1n, timeMs: 2n ** 60n }, { zxid: 2n }));
  expect((await backUp(seriesWith())).times).toBeNull();
});

it("a backup that is aborted while it waits holds nothing open", async () => {
  await write("snapshot.5", snapshotAt(8n));
  await write("log.1", log(1n, 6n));
  const opened = async () => (await readdir("/proc/self/fd")).length;
  const before = await opened();
  await expect(seriesWith().backup({ signal: AbortSignal.timeout(300) })).rejects.toSatisfy((error) =>
    isBackypError(error, "ERR_ABORTED"),
  );
  expect(await opened()).toBe(before);
});

it("a server that answers something else than srvr is none", async () => {
  await write("snapshot.1", snapshotAt(1n));
  const server = createServer((socket) => socket.on("error", () => {}).end("HTTP/1.1 400 Bad Request\r\n\r\n"));
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as { port: number };
  const source = createZooKeeperSource({ dataDir: folder, server: `127.0.0.1:${port}` });
  const backup = openSeries({ prefix: "zk", source, sink: memorySink() }).backup();
  await expect(backup).rejects.toThrow(/does not answer "srvr" as ZooKeeper does/);
  server.close();
});
