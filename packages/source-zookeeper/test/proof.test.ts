import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { isBackypError, type JsonObject, type Manifest, openSeries, type Series } from "@zk-backyp/core";
import { createFsSink } from "@zk-backyp/sink-fs";
import { type Fixture, unpackFixture } from "@zk-backyp/testbed";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { createZooKeeperSource } from "../src/index.ts";
import { doctorLog, doctorSnapshot, forgeBackup } from "./doctor.ts";

const OF_A_SNAPSHOT = ["value-409-xxxx", "value-410-xxxx"] as const;

let folder: string;
let fixture: Fixture;
let version2: string;
let sink: string;
let series: Series;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "zk-backyp-proof-"));
  fixture = await unpackFixture("zookeeper-3.8.0-rich", folder);
  version2 = join(fixture.dataDir, "version-2");
  sink = join(folder, "backups");
  series = seriesOf(fixture);
});
afterEach(() => rm(folder, { recursive: true }));

function seriesOf(options: Partial<Fixture>): Series {
  return openSeries({ prefix: "zk", source: createZooKeeperSource(options), sink: createFsSink({ path: sink }) });
}

async function backUp(allowDamaged = false): Promise<Manifest> {
  const manifest = await series.backup({ allowDamaged });
  if (manifest === null) throw new Error("nothing was backed up");
  return manifest;
}

async function doctor(name: string, change: (bytes: Buffer) => Buffer): Promise<void> {
  await writeFile(join(version2, name), change(await readFile(join(version2, name))));
}

async function keepSnapshots(...kept: readonly string[]): Promise<void> {
  for (const name of await readdir(version2)) {
    if (name.startsWith("snapshot") && !kept.includes(name)) await rm(join(version2, name));
  }
}

describe("a manifest records what the files restore to", () => {
  it("with the digest that ZooKeeper's own digests prove", async () => {
    const { contents, proof, problems } = await backUp();
    expect(contents.state).toEqual({
      nodes: 993,
      sessions: 4,
      ephemerals: 60,
      containers: 2,
      ttlNodes: 25,
      dataBytes: 148_878,
      digest: "2209323497027",
    });
    expect(proof).toEqual({
      snapshotDigest: "matched",
      digestMatchedAt: "0x3e4",
      txnDigestsCompared: 6,
      txnDigestsMatched: 6,
      digestCharset: "utf8",
    });
    expect(problems).toEqual([]);
  });

  it.each([
    ["zookeeper-3.4.14", { nodes: 16 }, { snapshotDigest: "absent", digestMatchedAt: null, txnDigestsCompared: 0 }],
    ["zookeeper-3.5.10", { nodes: 21, ttlNodes: 2 }, { snapshotDigest: "absent", digestMatchedAt: null }],
    ["zookeeper-3.6.4", { nodes: 21, digest: "33409790382" }, { snapshotDigest: "matched", digestMatchedAt: "0x22" }],
    ["zookeeper-3.8.0", { nodes: 21, digest: "33579441090" }, { txnDigestsCompared: 32, txnDigestsMatched: 32 }],
  ] as const)("of %s", async (name, state, sure) => {
    series = seriesOf(await unpackFixture(name, folder));
    const { id, contents, proof } = await backUp();
    expect(contents.state).toMatchObject(state);
    expect(proof).toMatchObject(sure);
    await series.verify(id);
  });
});

describe("a snapshot that is intact but not the server's tree", () => {
  beforeEach(() => doctor("snapshot.3e4", (bytes) => doctorSnapshot(bytes, ...OF_A_SNAPSHOT)));

  it("is passed over for an older one", async () => {
    const manifest = await backUp();
    expect(manifest).toMatchObject({
      verified: true,
      range: { upTo: "0x3ea" },
      facts: { passedOver: [{ file: "snapshot.3e4", reason: expect.stringMatching(/after 0x3e4 .* digest/) }] },
      contents: { snapshot: { file: "snapshot.3a7" }, state: { digest: "2209323497027" } },
    });
    await series.verify(manifest.id);
  });

  it("is refused where there is no older one, and nothing is stored", async () => {
    await keepSnapshots("snapshot.3e4");
    await expect(series.backup()).rejects.toSatisfy(
      (error) =>
        isBackypError(error, "ERR_SOURCE_DAMAGED") && /snapshot\.3e4: after 0x3e4 .* digest/.test(error.message),
    );
    const { signal } = new AbortController();
    expect(await series.catalog.ids({ signal })).toEqual([]);
    expect((await readdir(sink, { recursive: true, withFileTypes: true })).filter((entry) => entry.isFile())).toEqual(
      [],
    );
  });

  it("is kept as damaged where that is allowed", async () => {
    await keepSnapshots("snapshot.3e4");
    const manifest = await backUp(true);
    expect(manifest).toMatchObject({
      verified: false,
      problems: [{ severity: "data-loss", code: "DIGEST_MISMATCH" }],
      contents: { snapshot: { file: "snapshot.3e4" }, damaged: [] },
    });
    await expect(series.verify(manifest.id)).rejects.toSatisfy((error) => isBackypError(error, "ERR_BACKUP_DAMAGED"));
  });
});

it("a log whose transactions are not those that the server applied is refused", async () => {
  await doctor("log.3e5", (bytes) => doctorLog(bytes, "/app/late2", "/app/lateX"));
  await expect(series.backup()).rejects.toSatisfy((error) => isBackypError(error, "ERR_SOURCE_DAMAGED"));
});

describe("verify finds a backup whose every hash is right, but", () => {
  const expectFound = async (
    manifest: Manifest,
    code: "ERR_SOURCE_DAMAGED" | "ERR_CHECKSUM_MISMATCH",
    text: RegExp,
  ) => {
    const isIt = (error: unknown): boolean => isBackypError(error, code) && text.test(error.message);
    await expect(series.verify(manifest.id)).rejects.toSatisfy(isIt);
    await expect(series.restore(manifest.id, { main: join(folder, "restored") })).rejects.toSatisfy(isIt);
  };
  const withoutState = (manifest: Manifest): Manifest => ({
    ...manifest,
    contents: { snapshot: manifest.contents.snapshot ?? null, logs: manifest.contents.logs ?? null },
  });

  it("in which the data of one znode is another, also if nothing of the tree is recorded", async () => {
    const manifest = await backUp();
    const change = (path: string, bytes: Buffer): Buffer =>
      path === "version-2/snapshot.3e4" ? doctorSnapshot(bytes, ...OF_A_SNAPSHOT) : bytes;
    await forgeBackup(sink, manifest, change, withoutState);
    await expectFound(manifest, "ERR_SOURCE_DAMAGED", /after 0x3e4 the server's tree had the digest/);
  });

  it("in which a transaction in the log is another", async () => {
    const manifest = await backUp();
    await forgeBackup(
      sink,
      manifest,
      (path, bytes) => (path === "version-2/log.3e5" ? doctorLog(bytes, "/app/late2", "/app/lateX") : bytes),
      withoutState,
    );
    await expectFound(manifest, "ERR_SOURCE_DAMAGED", /digest/);
  });

  it("in which a transaction is another that no digest of the server covers", async () => {
    series = seriesOf(await unpackFixture("zookeeper-3.4.14", folder));
    const manifest = await backUp();
    await forgeBackup(sink, manifest, (_path, bytes) => doctorLog(bytes, "rootdata", "rootdatX"));
    await expectFound(manifest, "ERR_CHECKSUM_MISMATCH", /not what its manifest records/);
  });

  it.each<[string, (contents: JsonObject, state: JsonObject) => JsonObject]>([
    ["nodes", (contents, state) => ({ ...contents, state: { ...state, nodes: 992 } })],
    ["digest", (contents, state) => ({ ...contents, state: { ...state, digest: "1" } })],
    ["state", (contents) => ({ ...contents, state: null })],
  ])("whose manifest was edited: %s", async (_, edit) => {
    const manifest = await backUp();
    await forgeBackup(
      sink,
      manifest,
      (_path, bytes) => bytes,
      (forged) => ({ ...forged, contents: edit(forged.contents, forged.contents.state as JsonObject) }),
    );
    await expectFound(manifest, "ERR_CHECKSUM_MISMATCH", /not what its manifest records/);
  });

  it("which is another one, under its name and with its manifest's figures", async () => {
    const first = await backUp();
    await keepSnapshots("snapshot.3a7");
    await rm(join(version2, "log.3e5"));
    const second = await backUp();
    const files = new Map<string, Buffer>();
    await forgeBackup(sink, second, (path, bytes) => {
      files.set(path, bytes);
      return bytes;
    });
    expect([...files.keys()]).toEqual(["version-2/snapshot.3a7", "version-2/log.348", "version-2/log.3a8"]);
    await writeFile(join(sink, first.archive.key), await readFile(join(sink, second.archive.key)));
    const { size, sha256 } = second.archive;
    const manifest = { ...first, archive: { ...first.archive, size, sha256 }, entries: second.entries };
    await writeFile(join(sink, "zk/manifests", `${first.id}.json`), JSON.stringify(manifest));
    await expectFound(first, "ERR_CHECKSUM_MISMATCH", /found .*0x3e4.*recorded .*0x3ea/);
  });
});

it("verify takes a backup of a release that recorded nothing of the tree", async () => {
  const manifest = await backUp();
  await forgeBackup(
    sink,
    manifest,
    (_path, bytes) => bytes,
    ({ contents: { snapshot = null, logs = null }, ...rest }) => ({ ...rest, contents: { snapshot, logs } }),
  );
  await series.verify(manifest.id);
});
