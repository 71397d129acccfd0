import { mkdtempSync, rmSync } from "node:fs";
import { writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { OPEN_ACL, type Txn, type TxnBody, writeLog } from "@zk-backyp/zookeeper-files";
import { describe, expect, it } from "vitest";
import { changesOf, type DescribedChange, isOp } from "./changes.ts";
import { type HistorySource, type HistorySummary, historyOfFiles, readHistory } from "./history.ts";

const SESSION = 0x100_0000_0000_0001n;
const OTHER = 0x100_0000_0000_0002n;

type Step = TxnBody & { readonly sessionId?: bigint };

function txns(steps: readonly Step[], firstZxid: bigint): Txn[] {
  return steps.map(({ sessionId = SESSION, ...body }, index) => {
    const zxid = firstZxid + BigInt(index);
    return { zxid, timeMs: 1000 + index, sessionId, cxid: index, digest: null, ...body } as Txn;
  });
}

const create = (path: string, ephemeral = false) =>
  ({ type: "create", path, data: null, acl: OPEN_ACL, ephemeral, parentCversion: 1 }) as const;
const createContainer = (path: string) =>
  ({ type: "createContainer", path, data: null, acl: OPEN_ACL, parentCversion: 1 }) as const;
const createTtl = (path: string, ttlMs: bigint) =>
  ({ type: "createTtl", path, data: null, acl: OPEN_ACL, parentCversion: 1, ttlMs }) as const;
const remove = (path: string) => ({ type: "delete", path }) as const;
const removeContainer = (path: string) => ({ type: "deleteContainer", path }) as const;
const opened = { type: "createSession", timeoutMs: 30_000 } as const;
/** As 3.4 and 3.5 write it: without the paths. */
const closed = { type: "closeSession", paths: null } as const;

async function read(
  logs: readonly (readonly Txn[])[],
  ownedBefore: HistorySource["ownedBefore"] = async () => null,
): Promise<{ changes: DescribedChange[]; summary: HistorySummary | undefined }> {
  const source: HistorySource = {
    damage: [],
    async *logs() {
      for (const [index, log] of logs.entries()) yield { file: `log.${index}`, body: writeLog(log) };
    },
    ownedBefore,
  };
  const changes: DescribedChange[] = [];
  let summary: HistorySummary | undefined;
  const all = readHistory(
    source,
    ({ txn, owned }) => changesOf(txn, owned).map((change) => ({ ...change, ...change.describe() })),
    (end) => {
      summary = end;
    },
  );
  for await (const picked of all) changes.push(...picked);
  return { changes, summary };
}

async function history(...steps: Step[]): Promise<string[]> {
  const { changes } = await read([txns(steps, 1n)]);
  return changes.map(({ type, within, path, note }) =>
    [within === null ? type : `${within}/${type}`, path, note].filter((part) => part).join(" "),
  );
}

describe("a session that ends without saying what it takes along", () => {
  it("takes the ephemerals that it created and nobody deleted", async () => {
    const lines = await history(
      opened,
      { ...opened, sessionId: OTHER },
      create("/kept"),
      create("/e1", true),
      create("/e2", true),
      { ...create("/others", true), sessionId: OTHER },
      { type: "multi", ops: [create("/e3", true), remove("/e1")] },
      { type: "multi", ops: [create("/never", true), { type: "error", errorCode: -101 }] },
      closed,
      { ...closed, sessionId: OTHER },
    );
    expect(lines.slice(-5)).toEqual([
      "closeSession 2 ephemerals deleted",
      "closeSession/delete /e2 ephemeral",
      "closeSession/delete /e3 ephemeral",
      "closeSession 1 ephemeral deleted",
      "closeSession/delete /others ephemeral",
    ]);
  });

  it("takes nothing along for a session of the same id that ended before", async () => {
    const lines = await history(opened, create("/e", true), closed, create("/e"), opened, closed);
    expect(lines.slice(-1)).toEqual(["closeSession no ephemerals"]);
  });

  it("may have owned more when its beginning is in no log", async () => {
    expect(await history(closed)).toEqual(["closeSession its ephemerals, if any, are from before these logs"]);
    expect(await history(create("/e", true), closed)).toEqual([
      "create /e no data, ephemeral",
      "closeSession 1 ephemeral deleted, and perhaps others from before these logs",
      "closeSession/delete /e ephemeral",
    ]);
  });

  it("takes what a snapshot shows from before the logs", async () => {
    const before = {
      znodes: [
        { path: "/old", owner: SESSION, czxid: 4n },
        { path: "/moved", owner: OTHER, czxid: 4n },
        // Of a txn that is in the log, and was undone there again.
        { path: "/late", owner: SESSION, czxid: 10n },
      ],
      upTo: 12n,
    };
    const steps = [remove("/moved"), create("/x"), { ...closed, sessionId: OTHER }, create("/moved", true), closed];
    const { changes } = await read([txns(steps, 10n)], async () => before);
    expect(changes.filter(({ type }) => type === "closeSession").map(({ details }) => details)).toEqual([
      // Until the snapshot was done it may have missed some.
      { ephemerals: 0, complete: false },
      { ephemerals: 2, complete: true },
    ]);
    expect(changes.filter(({ within }) => within === "closeSession").map(({ path }) => path)).toEqual([
      "/moved",
      "/old",
    ]);
  });

  it("asks once for what was owned before, with the first txn of all", async () => {
    const asked: bigint[] = [];
    await read([[], txns([opened], 7n), txns([closed], 8n)], async (zxid) => {
      asked.push(zxid);
      return null;
    });
    expect(asked).toEqual([7n]);
  });
});

it("a session of 3.6 and later says itself what it takes along", async () => {
  expect(await history({ type: "closeSession", paths: ["/b", "/a"] })).toEqual([
    "closeSession 2 ephemerals deleted",
    "closeSession/delete /a ephemeral",
    "closeSession/delete /b ephemeral",
  ]);
});

it("what the server deletes by itself comes with the reason, where it is known", async () => {
  const lines = await history(
    createContainer("/c"),
    createTtl("/t", 5000n),
    removeContainer("/c"),
    removeContainer("/t"),
    removeContainer("/unknown"),
  );
  expect(lines.slice(2)).toEqual([
    "deleteContainer /c by the server: an empty container",
    "deleteContainer /t by the server: ttl 5.0 s expired",
    "deleteContainer /unknown by the server: an empty container, or an expired ttl",
  ]);
});

it("a multi that failed did nothing, and says so", async () => {
  const ops = [
    create("/a"),
    remove("/b"),
    { type: "error", errorCode: -101 },
    { type: "error", errorCode: -2 },
  ] as const;
  expect(await history({ type: "multi", ops })).toEqual([
    "multi/create /a no data, not done: another part failed",
    "multi/delete /b not done: another part failed",
    "multi/error NoNode (-101)",
    "multi/error RuntimeInconsistency (-2)",
  ]);
  expect(await history({ type: "multi", ops: [] })).toEqual(["multi no parts"]);
});

it("an error of a later release has its number", async () => {
  expect(await history({ type: "error", errorCode: -999 })).toEqual(["error error -999"]);
});

it("a change of the root has a path", async () => {
  expect(await history({ type: "setData", path: "/", data: Buffer.from("x"), version: 1 })).toEqual([
    "setData / 1 B, version 1",
  ]);
});

it("missing, repeated and damaged txns are named", async () => {
  const { summary } = await read([txns([opened, create("/a")], 1n), txns([closed], 5n), txns([closed], 4n)]);
  expect(summary).toEqual({
    txns: 4,
    first: { zxid: 1n, timeMs: 1000 },
    last: { zxid: 4n, timeMs: 1000 },
    damage: [
      "log.1: txns are missing between 0x2 and 0x5",
      "log.2: 0x4 comes after 0x5: these logs are not of one history",
    ],
  });
  const whole = await read([txns([opened], 1n), txns([closed], 0x1_0000_0001n)]);
  expect(whole.summary?.damage).toEqual([]);
});

describe("a log that is gone when its turn comes", () => {
  async function readWithout(gone: string, paths: (folder: string) => string[]): Promise<HistorySummary | undefined> {
    const folder = mkdtempSync(join(tmpdir(), "zk-backyp-history-"));
    try {
      for (const zxid of [1n, 2n, 3n]) {
        await writeFile(join(folder, `log.${zxid}`), writeLog(txns([opened], zxid)));
      }
      const source = await historyOfFiles(paths(folder), new AbortController().signal);
      rmSync(join(folder, gone));
      let summary: HistorySummary | undefined;
      const all = readHistory(
        source,
        () => null,
        (end) => {
          summary = end;
        },
      );
      for await (const _ of all);
      return summary;
    } finally {
      rmSync(folder, { recursive: true });
    }
  }

  it("is left out if it is the oldest one, as a purge takes it", async () => {
    const summary = await readWithout("log.1", (folder) => [folder]);
    expect(summary).toMatchObject({ txns: 2, first: { zxid: 2n }, damage: [] });
  });

  it("is told by the gap that it leaves", async () => {
    const summary = await readWithout("log.2", (folder) => [folder]);
    expect(summary?.damage).toEqual([expect.stringMatching(/log\.3: txns are missing between 0x1 and 0x3$/)]);
  });

  it("is an error if it is the newest one, which no purge takes, or was named", async () => {
    const error = { code: "ERR_SOURCE_UNAVAILABLE" };
    await expect(readWithout("log.3", (folder) => [folder])).rejects.toMatchObject(error);
    const named = (folder: string): string[] => [1, 2, 3].map((zxid) => join(folder, `log.${zxid}`));
    await expect(readWithout("log.1", named)).rejects.toMatchObject(error);
  });
});

it.each([
  ["delete", ["deleteContainer", "delete", "multi/delete", "closeSession/delete"]],
  ["create", ["create", "createContainer"]],
  ["closeSession", ["closeSession", "closeSession/delete"]],
  ["multi", ["multi/delete"]],
  ["deleteContainer", ["deleteContainer"]],
])("--op %s takes these changes", async (word, expected) => {
  const { changes } = await read([
    txns(
      [
        create("/a", true),
        createContainer("/c"),
        removeContainer("/c"),
        remove("/b"),
        { type: "multi", ops: [remove("/x")] },
        closed,
      ],
      1n,
    ),
  ]);
  const wanted = changes.filter((change) => isOp(change, new Set([word])));
  expect(wanted.map(({ type, within }) => (within === null ? type : `${within}/${type}`))).toEqual(expected);
});
