import { mkdir, mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { isBackypError, type Manifest, openSeries, type Series } from "@zk-backyp/core";
import { createFsSink } from "@zk-backyp/sink-fs";
import {
  type Acl,
  loadTree,
  type NodeContent,
  OPEN_ACL,
  type SnapshotDigest,
  type Txn,
  type TxnBody,
  writeLog,
  writeSnapshot,
  type ZnodeStat,
} from "@zk-backyp/zookeeper-files";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { createZooKeeperSource } from "../src/index.ts";
import { forgeBackup } from "./doctor.ts";

// Snapshots as servers write them under load, while transactions are applied.

let folder: string;
let version2: string;
let sink: string;
let series: Series;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "zk-backyp-fuzzy-"));
  version2 = join(folder, "data", "version-2");
  sink = join(folder, "backups");
  await mkdir(version2, { recursive: true });
  const source = createZooKeeperSource({ dataDir: join(folder, "data") });
  series = openSeries({ prefix: "zk", source, sink: createFsSink({ path: sink }) });
});
afterEach(() => rm(folder, { recursive: true }));

const STAT: ZnodeStat = {
  czxid: 0n,
  mzxid: 0n,
  pzxid: 0n,
  ctimeMs: 0,
  mtimeMs: 0,
  version: 0,
  cversion: 0,
  aversion: 0,
  ephemeralOwner: 0n,
};
const NEW_ACL: Acl = [{ permissions: 31, scheme: "digest", id: "new" }];
const node = (path: string, aclId = -1n): NodeContent => ({ path, data: null, aclId, stat: STAT });

async function snapshot(
  nodes: readonly NodeContent[],
  { acls = new Map<bigint, Acl>(), digest = null as SnapshotDigest | null } = {},
): Promise<Buffer> {
  const all = [node(""), node("/zookeeper"), ...nodes];
  return Buffer.concat(await Array.fromAsync(writeSnapshot({ sessions: new Map(), acls, nodes: all, digest })));
}

type LoggedBody = TxnBody & { readonly digest?: bigint };

async function log(first: bigint, ...bodies: readonly LoggedBody[]): Promise<Buffer> {
  const txns = bodies.map(({ digest, ...body }, index): Txn => {
    const header = { zxid: first + BigInt(index), timeMs: 1000 + index, sessionId: 1n, cxid: index };
    return { ...header, digest: digest === undefined ? null : { version: 2, value: digest }, ...body } as Txn;
  });
  return Buffer.concat(await Array.fromAsync(writeLog(txns)));
}

const save = (name: string, bytes: Buffer): Promise<void> => writeFile(join(version2, name), bytes);

async function backUp(allowDamaged = false): Promise<Manifest> {
  const manifest = await series.backup({ allowDamaged });
  if (manifest === null) throw new Error("nothing was backed up");
  return manifest;
}

const create = (path: string): TxnBody => {
  return { type: "create", path, data: null, acl: OPEN_ACL, ephemeral: false, parentCversion: -1 };
};

describe("a snapshot without an ACL that the logs need before they set it", () => {
  const SET: TxnBody = { type: "setAcl", path: "/p", acl: NEW_ACL, version: 1 };
  const WHY = /0x2 needs the ACL of \/p, .* servers from 3\.8\.4 and 3\.9\.2 on do not start/;
  const fuzzy = (): Promise<Buffer> => snapshot([node("/p", 7n)]);
  const whole = (): Promise<Buffer> => snapshot([node("/p", 7n)], { acls: new Map([[7n, NEW_ACL]]) });
  beforeEach(async () => {
    await save("log.1", await log(1n, create("/q"), create("/p/c"), SET));
    await save("snapshot.1", await snapshot([node("/p", 7n), node("/q")]));
  });

  it("is passed over for an older one", async () => {
    await save("snapshot.0", await snapshot([node("/p")]));
    const manifest = await backUp();
    expect(manifest).toMatchObject({
      verified: true,
      range: { upTo: "0x3" },
      facts: { passedOver: [{ file: "snapshot.1", reason: expect.stringMatching(WHY) }] },
      contents: { snapshot: { file: "snapshot.0" } },
      problems: [{ code: "SNAPSHOT_PASSED_OVER", file: "snapshot.1" }],
    });
    await series.verify(manifest.id);
  });

  it("is refused where there is no other, and nothing is stored", async () => {
    await expect(series.backup()).rejects.toSatisfy(
      (error) =>
        isBackypError(error, "ERR_SOURCE_DAMAGED") && /snapshot\.1: /.test(error.message) && WHY.test(error.message),
    );
    expect((await readdir(sink, { recursive: true, withFileTypes: true })).filter((entry) => entry.isFile())).toEqual(
      [],
    );
  });

  it("is refused where the older one does not lead as far", async () => {
    await save("snapshot.0", await snapshot([node("/p")]));
    await save("log.2", await log(2n, create("/p/c"), SET));
    await rm(join(version2, "log.1"));
    await expect(series.backup()).rejects.toSatisfy((error) => isBackypError(error, "ERR_SOURCE_DAMAGED"));
  });

  it("is kept as damaged where that is allowed", async () => {
    const manifest = await backUp(true);
    expect(manifest).toMatchObject({
      verified: false,
      range: { upTo: "0x3" },
      contents: { snapshot: { file: "snapshot.1" } },
      problems: [{ code: "SNAPSHOT_DANGLING_ACLS" }, { severity: "fatal", code: "DANGLING_ACL_USED", file: "log.1" }],
    });
    await expect(series.verify(manifest.id)).rejects.toSatisfy(
      (error) => isBackypError(error, "ERR_BACKUP_DAMAGED") && WHY.test(error.message),
    );
  });

  it("is found in a backup that was called good", async () => {
    await save("snapshot.1", await whole());
    const manifest = await backUp();
    const old = await fuzzy();
    await forgeBackup(sink, manifest, (path, bytes) => (path === "version-2/snapshot.1" ? old : bytes));
    const isIt = (error: unknown): boolean => isBackypError(error, "ERR_SOURCE_DAMAGED") && WHY.test(error.message);
    await expect(series.verify(manifest.id)).rejects.toSatisfy(isIt);
    await expect(series.restore(manifest.id, { main: join(folder, "restored") })).rejects.toSatisfy(isIt);
  });

  it("is good where they set it first", async () => {
    await save("log.1", await log(1n, create("/q"), SET, create("/p/c")));
    expect(await backUp()).toMatchObject({
      verified: true,
      contents: { snapshot: { file: "snapshot.1" } },
      problems: [{ severity: "info", code: "SNAPSHOT_DANGLING_ACLS", file: "snapshot.1" }],
    });
  });
});

describe("a snapshot that caught the beginning of the transaction behind its digest", () => {
  const WRITTEN: TxnBody = { type: "setData", path: "/q", data: Buffer.from("x"), version: 1 };
  const GONE: TxnBody = { type: "delete", path: "/p/c" };
  let after: bigint[];
  beforeEach(async () => {
    await save("snapshot.0", await snapshot([node("/p"), node("/p/c"), node("/q")]));
    await save("log.1", await log(1n, WRITTEN, GONE));
    after = [];
    for (const atZxid of [0n, 1n, 2n]) after.push((await loadTree([version2], { atZxid })).tree.digest);
    await rm(join(version2, "snapshot.0"));
    const written = { ...node("/q"), data: Buffer.from("x"), stat: { ...STAT, mzxid: 1n, mtimeMs: 1000, version: 1 } };
    const digest = { zxid: 1n, version: 2, value: after[1] ?? 0n };
    // The znode below has gone, but its parent was written before that.
    await save("snapshot.1", await snapshot([node("/p"), written], { digest }));
    await save("log.1", await log(1n, { ...WRITTEN, digest: after[1] ?? 0n }));
  });
  const deletion = (): Promise<Buffer> => log(2n, { ...GONE, digest: after[2] ?? 0n });

  it("is good with that transaction", async () => {
    await save("log.2", await deletion());
    const manifest = await backUp();
    expect(manifest).toMatchObject({ verified: true, range: { upTo: "0x2" }, problems: [{ code: "DIGEST_STALE" }] });
    await series.verify(manifest.id);
  });

  it("waits for that transaction where the logs end before it", async () => {
    const attempts: number[] = [];
    const bytes = await deletion();
    series.events.on("backup:start", ({ attempt }) => {
      attempts.push(attempt);
      if (attempt === 2) setTimeout(() => save("log.2", bytes), 300);
    });
    const manifest = await backUp();
    expect(attempts).toEqual([1, 2]);
    expect(manifest).toMatchObject({ verified: true, range: { upTo: "0x2" }, problems: [{ code: "DIGEST_STALE" }] });
    await series.verify(manifest.id);
  });

  it("is passed over for an older one if it does not come", async () => {
    await save("snapshot.0", await snapshot([node("/p"), node("/p/c"), node("/q")]));
    expect(await backUp()).toMatchObject({
      verified: true,
      range: { upTo: "0x1" },
      contents: { snapshot: { file: "snapshot.0" }, state: { digest: String(after[1]) } },
      facts: { passedOver: [{ file: "snapshot.1", reason: expect.stringMatching(/after 0x1 .* digest/) }] },
    });
  });

  it("is refused if it does not come and there is no other", async () => {
    await expect(series.backup()).rejects.toSatisfy(
      (error) => isBackypError(error, "ERR_SOURCE_DAMAGED") && /snapshot\.1: after 0x1 .* digest/.test(error.message),
    );
  });
});
