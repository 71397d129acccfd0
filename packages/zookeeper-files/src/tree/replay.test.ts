import { createReadStream } from "node:fs";
import { describe, expect, it } from "vitest";
import { findDataFiles } from "../directory.ts";
import { logsFor } from "../file-names.ts";
import { createLogChecker } from "../log/log-checker.ts";
import { checkSnapshot } from "../snapshot/snapshot-checker.ts";
import { int } from "../testing/jute.ts";
import { realFiles } from "../testing/real-files.ts";
import { body, OPEN, READ_ONLY, replayed } from "../testing/replayed.ts";
import { createReplay, type ReplayResult } from "./replay.ts";

const real = realFiles();

/** From the snapshot of this name, with all logs after it. */
async function replayReal(archive: string, name: string | null): Promise<ReplayResult> {
  const files = await findDataFiles(
    archive.endsWith("rich") ? [real.path(archive)] : [real.path(archive, "data"), real.path(archive, "log")],
  );
  const replay = createReplay();
  const snapshot = files.snapshots.find((file) => file.path.endsWith(`/${name}`));
  if (snapshot === undefined) {
    replay.startEmpty();
  } else {
    const { path, compression, zxid } = snapshot;
    replay.snapshotEnd(
      zxid,
      await checkSnapshot(createReadStream(path), { compression, ...replay.snapshotHooks }),
      path,
    );
  }
  for (const log of logsFor(snapshot?.zxid ?? 0n, files.logs)) {
    replay.beginLog(log.path);
    const checker = createLogChecker({ onRecord: replay.onRecord });
    for await (const chunk of createReadStream(log.path)) checker.push(chunk);
    checker.end();
  }
  return replay.finish();
}

describe("the files of real servers", () => {
  it.each([
    ["zookeeper-3.6.4", "snapshot.22", 33409790382n, "matched", 0],
    ["zookeeper-3.6.4", "snapshot.0", 33409790382n, "absent", 32],
    ["zookeeper-3.7.2", "snapshot.22", 28008191920n, "matched", 0],
    ["zookeeper-3.7.2", "snapshot.0", 28008191920n, "absent", 32],
    ["zookeeper-3.8.0", "snapshot.0", 33579441090n, "absent", 32],
    ["zookeeper-3.8.0-gz", "snapshot.22.gz", 33579441090n, "matched", 0],
    ["zookeeper-3.8.0-snappy", "snapshot.22.snappy", 33579441090n, "matched", 0],
    ["zookeeper-3.8.0-rich", "snapshot.0", 2209323497027n, "absent", 1001],
    ["zookeeper-3.8.0-rich", "snapshot.b5", 2209323497027n, "matched", 820],
    ["zookeeper-3.8.0-rich", "snapshot.225", 2209323497027n, "matched", 452],
    ["zookeeper-3.8.0-rich", "snapshot.346", 2209323497027n, "matched", 163],
    ["zookeeper-3.8.0-rich", "snapshot.3e4", 2209323497027n, "matched", 6],
  ])("%s from %s come to the server's digest", async (archive, name, digest, snapshotDigest, compared) => {
    const result = await replayReal(archive, name);
    expect(result).toMatchObject({ digest, snapshotDigest, problems: [] });
    expect(result.txnDigests).toEqual({ compared, matched: compared });
  });

  it.each([
    ["zookeeper-3.5.10", "snapshot.0", { zxid: 0x22n, nodes: 21, containers: 1, ttlNodes: 2 }],
    ["zookeeper-3.5.10", "snapshot.22", { zxid: 0x22n, nodes: 21, containers: 1, ttlNodes: 2 }],
  ])("%s from %s are replayed without digests", async (archive, name, expected) => {
    const result = await replayReal(archive, name);
    const txnDigests = { compared: 0, matched: 0 };
    expect(result).toMatchObject({ ...expected, snapshotDigest: "absent", matchedAt: null, txnDigests, problems: [] });
  });

  it("3.5.10 comes to the same digest from both of its snapshots", async () => {
    const [whole, late] = await Promise.all(
      ["snapshot.0", "snapshot.22"].map((name) => replayReal("zookeeper-3.5.10", name)),
    );
    expect(whole?.digest).toBe(late?.digest);
  });
});

const NODES = [{ path: "" }, { path: "/a", pzxid: 5n }, { path: "/a/b" }];
const at5 = { nodes: NODES, zxid: 5n };
const stat = (tree: Awaited<ReturnType<typeof replayed>>["tree"], path: string) => tree.get(path)?.stat;

describe("create", () => {
  it("makes a node and counts it for its parent", async () => {
    const { tree } = await replayed(at5, [{ zxid: 6n, type: 1, body: body.create("/a/c", 7, { data: "xyz" }) }]);
    expect(tree.get("/a/c")).toEqual({
      path: "/a/c",
      name: "c",
      kind: "persistent",
      stat: {
        czxid: 6n,
        mzxid: 6n,
        pzxid: 6n,
        ctimeMs: 1006,
        mtimeMs: 1006,
        version: 0,
        cversion: 0,
        aversion: 0,
        ephemeralOwner: 0n,
      },
      dataLength: 3,
      childCount: 0,
      acl: [{ permissions: 31, scheme: "world", id: "anyone" }],
    });
    expect(tree.get("/a")).toMatchObject({ childCount: 2, stat: { cversion: 7, pzxid: 6n } });
  });

  it.each([
    ["ephemeral", 1, body.create("/a/c", 1, { ephemeral: true }), "ephemeral", 0x100_0000_0000_0001n],
    ["container", 19, body.createContainer("/a/c", 1), "container", -0x8000_0000_0000_0000n],
    ["TTL", 21, body.createTtl("/a/c", 1, 60_000n), "ttl", BigInt.asIntN(64, 0xff00_0000_0000_ea60n)],
  ] as const)("makes a node of kind %s", async (_, type, made, kind, ephemeralOwner) => {
    const { tree, ephemerals, containers, ttlNodes } = await replayed(at5, [{ zxid: 6n, type, body: made }]);
    expect(tree.get("/a/c")).toMatchObject({ kind, stat: { ephemeralOwner } });
    expect({ ephemeral: ephemerals, container: containers, ttl: ttlNodes }[kind]).toBe(1);
    expect(ephemerals + containers + ttlNodes).toBe(1);
  });

  it.each([
    ["-1", 1, body.create("/a/c", -1)],
    ["none, as 3.3 did", 1, body.createOld("/a/c")],
  ])("counts one more for a parent's version of %s", async (_, type, made) => {
    const { tree } = await replayed(at5, [
      { zxid: 6n, type: 15, body: body.create("/a/x", 9) },
      { zxid: 7n, type, body: made },
    ]);
    expect(stat(tree, "/a")).toMatchObject({ cversion: 10, pzxid: 7n });
  });

  it("passes over a node whose parent is missing", async () => {
    const { tree, nodes } = await replayed(at5, [{ zxid: 6n, type: 1, body: body.create("/x/c", 1) }]);
    expect([tree.get("/x/c"), nodes]).toEqual([null, 3]);
  });

  it.each([
    ["create", 1, { cversion: 4, pzxid: 6n }],
    ["create2", 15, { cversion: 0, pzxid: 5n }],
  ] as const)("of a node that is there: %s leaves it, but for the ACL", async (_, type, parent) => {
    const made = body.create("/a/b", 4, { data: "new", acls: READ_ONLY });
    const { tree } = await replayed(at5, [{ zxid: 6n, type, body: made }]);
    expect(tree.get("/a/b")).toMatchObject({ dataLength: -1, stat: { czxid: 0n }, acl: [{ permissions: 1 }] });
    expect(stat(tree, "/a")).toMatchObject(parent);
  });

  it("of a node that is there does not set the parent back", async () => {
    const { tree } = await replayed(at5, [
      { zxid: 6n, type: 1, body: body.create("/a/c", 9) },
      { zxid: 7n, type: 1, body: body.create("/a/c", 8) },
    ]);
    expect(stat(tree, "/a")).toMatchObject({ cversion: 9, pzxid: 6n });
  });

  it.each([
    ["3.6", { cversion: 9, pzxid: 6n }],
    ["3.5", { cversion: 3, pzxid: 7n }],
    ["3.4", { cversion: 3, pzxid: 7n }],
  ] as const)("by the rules of %s an older version of the parent gives %o", async (rules, parent) => {
    const txns = [
      { zxid: 6n, type: 1, body: body.create("/a/c", 9) },
      { zxid: 7n, type: 1, body: body.create("/a/d", 3) },
    ];
    const { tree } = await replayed(at5, txns, { rules });
    expect(stat(tree, "/a")).toMatchObject(parent);
    expect(tree.get("/a/d")).not.toBeNull();
  });

  it("repairs an ACL that the snapshot does not hold", async () => {
    const snapshot = { nodes: [{ path: "" }, { path: "/a", aclId: 7n }], zxid: 5n };
    expect((await replayed(snapshot, [])).tree.get("/a")?.acl).toBeNull();
    const { tree } = await replayed(snapshot, [{ zxid: 6n, type: 1, body: body.create("/a", 1) }]);
    expect(tree.get("/a")?.acl).toEqual([{ permissions: 31, scheme: "world", id: "anyone" }]);
  });
});

describe("delete", () => {
  it("removes the node and marks the parent", async () => {
    const { tree, nodes } = await replayed(at5, [{ zxid: 6n, type: 2, body: body.delete("/a/b") }]);
    expect([tree.get("/a/b"), nodes, stat(tree, "/a")?.pzxid]).toEqual([null, 2, 6n]);
  });

  it.each([
    ["3.6", 6n],
    ["3.5", 6n],
    ["3.4", 5n],
  ] as const)("of a node that is gone: by the rules of %s the parent's pzxid is %s", async (rules, pzxid) => {
    const { tree } = await replayed(at5, [{ zxid: 6n, type: 20, body: body.delete("/a/x") }], { rules });
    expect(stat(tree, "/a")?.pzxid).toBe(pzxid);
  });

  it.each([
    ["3.6", 9n],
    ["3.4", 6n],
  ] as const)("before what the parent has seen: by the rules of %s its pzxid is %s", async (rules, pzxid) => {
    const nodes = [{ path: "" }, { path: "/a", pzxid: 9n }, { path: "/a/b" }];
    const txns = [{ zxid: 6n, type: 2, body: body.delete("/a/b") }];
    const { tree } = await replayed({ nodes, zxid: 5n }, txns, { rules });
    expect(stat(tree, "/a")?.pzxid).toBe(pzxid);
  });

  it("compares zxids of different epochs, and of low halves above 2^31", async () => {
    const nodes = [{ path: "" }, { path: "/a", pzxid: 0x1_ffff_fff0n }, { path: "/b", pzxid: 0x2_7fff_ffffn }];
    const txns = [
      { zxid: 0x2_8000_0000n, type: 2, body: body.delete("/a/x") },
      { zxid: 0x2_8000_0001n, type: 2, body: body.delete("/b/x") },
    ];
    const { tree } = await replayed({ nodes, zxid: 5n }, txns);
    expect([stat(tree, "/a")?.pzxid, stat(tree, "/b")?.pzxid]).toEqual([0x2_8000_0000n, 0x2_8000_0001n]);
  });

  it("of a node with children takes them along, and they can be made again", async () => {
    const txns = [
      { zxid: 6n, type: 2, body: body.delete("/a") },
      { zxid: 7n, type: 1, body: body.create("/a", 1) },
      { zxid: 8n, type: 1, body: body.create("/a/b", 1, { data: "again" }) },
    ];
    const { tree, nodes } = await replayed(at5, txns);
    expect([nodes, tree.get("/a/b")?.dataLength, tree.get("/a")?.childCount]).toEqual([3, 5, 1]);
  });

  it("never removes the root", async () => {
    const { nodes } = await replayed(at5, [{ zxid: 6n, type: 2, body: body.delete("/") }]);
    expect(nodes).toBe(3);
  });
});

describe("setData, reconfig and setACL", () => {
  it.each([
    ["setData", 5, "/a/b"],
    ["setData of the root", 5, "/"],
    ["reconfig", 16, "/a/b"],
  ])("%s sets data, mzxid, mtime and version", async (_, type, path) => {
    const { tree, dataBytes } = await replayed(at5, [{ zxid: 6n, type, body: body.setData(path, "hello", 3) }]);
    const changed = { mzxid: 6n, mtimeMs: 1006, version: 3, czxid: 0n };
    expect(tree.get(path)).toMatchObject({ dataLength: 5, stat: changed });
    expect(dataBytes).toBe(5);
  });

  it("tells null from empty", async () => {
    const { tree } = await replayed(at5, [
      { zxid: 6n, body: body.setData("/a", "", 1) },
      { zxid: 7n, body: body.setData("/a/b", null, 1) },
    ]);
    expect([tree.get("/a")?.dataLength, tree.get("/a/b")?.dataLength]).toEqual([0, -1]);
  });

  it("setACL sets ACL and aversion, of the root too", async () => {
    const { tree } = await replayed(at5, [{ zxid: 6n, type: 7, body: body.setAcl("/", READ_ONLY, 4) }]);
    expect(tree.get("")).toMatchObject({ acl: [{ permissions: 1 }], stat: { aversion: 4, mzxid: 0n } });
  });

  it.each([
    [5, body.setData("/x", "", 1)],
    [7, body.setAcl("/x", OPEN, 1)],
  ])("type %i passes over a node that is missing", async (type, made) => {
    const before = await replayed(at5, []);
    const after = await replayed(at5, [{ zxid: 6n, type, body: made }]);
    expect(after.digest).toBe(before.digest);
  });
});

describe("multi", () => {
  it("applies its parts in order, and leaves checks alone", async () => {
    const parts = body.multi(
      [13, Buffer.concat([body.delete("/a"), int(1)])],
      [1, body.create("/a/c", 1)],
      [5, body.setData("/a/c", "xy", 1)],
      [2, body.delete("/a/b")],
    );
    const { tree } = await replayed(at5, [{ zxid: 6n, type: 14, body: parts }]);
    expect(tree.get("/a/c")).toMatchObject({ dataLength: 2, stat: { czxid: 6n, mzxid: 6n, version: 1 } });
    expect(tree.get("/a/b")).toBeNull();
  });

  it("does nothing if one part failed", async () => {
    const parts = body.multi([1, body.create("/a/c", 1)], [-1, int(-101)], [-1, int(-2)]);
    const { tree, digest } = await replayed(at5, [{ zxid: 6n, type: 14, body: parts }]);
    expect(tree.get("/a/c")).toBeNull();
    expect(digest).toBe((await replayed(at5, [])).digest);
  });
});

describe("sessions", () => {
  const session = 0x100_0000_0000_0001n;
  const open = { zxid: 6n, type: -10, body: int(30_000) };
  const create = { zxid: 7n, type: 1, body: body.create("/a/e", 1, { ephemeral: true }) };

  it("are opened, and own ephemerals", async () => {
    const { tree, ephemerals } = await replayed({ ...at5, sessions: [9n] }, [open, create]);
    expect([...tree.sessions]).toEqual([
      [9n, 30_000],
      [session, 30_000],
    ]);
    expect([...tree.ephemeralsOf(session)]).toEqual(["/a/e"]);
    expect([...tree.ephemeralsOf(9n)]).toEqual([]);
    expect(ephemerals).toBe(1);
  });

  it.each([
    ["with their paths", body.closeSession("/a/e")],
    ["with other paths", body.closeSession("/a/x")],
    ["without paths", Buffer.alloc(0)],
  ])("take all of their ephemerals along when they are closed %s", async (_, made) => {
    const { tree, ephemerals } = await replayed(at5, [open, create, { zxid: 8n, type: -11, body: made }]);
    expect([tree.get("/a/e"), ephemerals, tree.sessions.size, stat(tree, "/a")?.pzxid]).toEqual([null, 0, 0, 8n]);
  });

  it("delete a listed node whoever owns it", async () => {
    const { tree } = await replayed(at5, [{ zxid: 6n, type: -11, body: body.closeSession("/a/b") }]);
    expect(tree.get("/a/b")).toBeNull();
  });
});

describe("digests", () => {
  const setData = (zxid: bigint, digest?: bigint) => ({
    zxid,
    body: body.setData("/a", String(zxid), Number(zxid)),
    ...(digest === undefined ? {} : { digest }),
  });
  /** The digest after each of these. */
  async function digestsAt(...zxids: bigint[]): Promise<bigint[]> {
    const all = [6n, 7n, 8n, 9n].map((zxid) => setData(zxid));
    return Promise.all(zxids.map(async (zxid) => (await replayed(at5, all, { upTo: { zxid } })).digest));
  }

  it("match at the snapshot's txn, and from there on", async () => {
    const [d6 = 0n, d7 = 0n, d8 = 0n] = await digestsAt(6n, 7n, 8n);
    const snapshot = { ...at5, digest: { zxid: 7n, value: d7 } };
    // The one before the snapshot's own is not looked at.
    const result = await replayed(snapshot, [setData(6n, d6 + 1n), setData(7n, d7), setData(8n, d8)]);
    expect(result).toMatchObject({ snapshotDigest: "matched", matchedAt: 7n, problems: [] });
    expect(result.txnDigests).toEqual({ compared: 2, matched: 2 });
  });

  it("match at once if nothing was applied while the snapshot was written", async () => {
    const [d5 = 0n] = await digestsAt(5n);
    const result = await replayed({ ...at5, digest: { zxid: 5n, value: d5 } }, []);
    expect(result).toMatchObject({ snapshotDigest: "matched", matchedAt: 5n, problems: [] });
  });

  it("are unreached if the logs end before, and then the tree is a mixture", async () => {
    const result = await replayed({ ...at5, digest: { zxid: 8n, value: 1n } }, [setData(6n)]);
    expect(result).toMatchObject({ snapshotDigest: "unreached", matchedAt: null });
    expect(result.problems).toMatchObject([{ severity: "data-loss", code: "SNAPSHOT_NOT_COVERED", file: "snapshot" }]);
  });

  it("that do not match are a loss, which says where", async () => {
    const [d7 = 0n] = await digestsAt(7n);
    const result = await replayed({ ...at5, digest: { zxid: 7n, value: d7 + 3n } }, [
      setData(6n),
      setData(7n),
      setData(8n),
    ]);
    expect(result).toMatchObject({ snapshotDigest: "mismatch", matchedAt: null });
    const [problem] = result.problems;
    expect(problem).toMatchObject({ severity: "data-loss", code: "DIGEST_MISMATCH", file: "log", offset: 76 });
    expect(problem?.message).toContain(
      `after 0x7 the server's tree had the digest ${d7 + 3n}, but what the files hold has ${d7}`,
    );
  });

  it("are stale if later ones prove the tree right", async () => {
    const [d6 = 0n, d7 = 0n] = await digestsAt(6n, 7n);
    const snapshot = { ...at5, digest: { zxid: 5n, value: 99n } };
    const result = await replayed(snapshot, [setData(6n, d6), setData(7n, d7)]);
    expect(result).toMatchObject({ snapshotDigest: "stale", matchedAt: 6n, problems: [] });
  });

  it("are stale if the snapshot has caught the next txn too, which its digest does not have", async () => {
    const removed = { zxid: 8n, type: 2, body: body.delete("/a/b") };
    const [d7 = 0n] = await digestsAt(7n);
    const { digest: d8 } = await replayed(at5, [setData(6n), setData(7n), removed]);
    const nodes = [{ path: "" }, { path: "/a", pzxid: 8n }];
    const snapshot = { nodes, zxid: 5n, digest: { zxid: 7n, value: d7 } };
    const result = await replayed(snapshot, [setData(6n), setData(7n, d7), { ...removed, digest: d8 }]);
    expect(result).toMatchObject({ snapshotDigest: "stale", matchedAt: 8n, problems: [] });
    expect(result.txnDigests).toEqual({ compared: 1, matched: 1 });
    const withoutNext = await replayed(snapshot, [setData(6n), setData(7n, d7)]);
    expect(withoutNext.problems.map(({ code }) => code)).toEqual(["SNAPSHOT_NOT_COVERED", "DIGEST_MISMATCH"]);
  });

  it("are no longer stale if a later one is wrong again", async () => {
    const [d6 = 0n, d7 = 0n] = await digestsAt(6n, 7n);
    const snapshot = { ...at5, digest: { zxid: 5n, value: 99n } };
    const result = await replayed(snapshot, [setData(6n, d6), setData(7n, d7 + 1n)]);
    expect(result.snapshotDigest).toBe("mismatch");
    expect(result.problems).toMatchObject([{ code: "DIGEST_MISMATCH" }]);
  });

  it("of txns are a loss when one does not match after others did", async () => {
    const [d6 = 0n, d7 = 0n, d8 = 0n] = await digestsAt(6n, 7n, 8n);
    const snapshot = { ...at5, digest: { zxid: 0n, value: 0n } };
    const result = await replayed(snapshot, [setData(6n, d6), setData(7n, d7 + 1n), setData(8n, d8)]);
    expect(result).toMatchObject({ snapshotDigest: "absent", matchedAt: 6n, txnDigests: { compared: 3, matched: 2 } });
    expect(result.problems).toMatchObject([{ severity: "data-loss", code: "DIGEST_MISMATCH", offset: 88 }]);
  });

  it.each([
    ["an empty digest", { digest: { zxid: 0n, value: 0n } }],
    ["a digest from before a new leader's epoch", { digest: { zxid: 4n, value: 5n } }],
    ["a last zxid", { lastZxid: 5n }],
  ])("of txns are a loss when none matches after a snapshot with %s", async (_, tail) => {
    const result = await replayed({ ...at5, ...tail }, [setData(6n, 1n), setData(7n, 2n)]);
    expect(result.problems).toMatchObject([{ severity: "data-loss", code: "DIGEST_MISMATCH" }]);
  });

  it("of txns that never match prove nothing when it is not known when the snapshot was done", async () => {
    const nodes = [{ path: "" }, { path: "/a", mzxid: 6n }];
    const result = await replayed({ nodes, zxid: 5n }, [setData(6n, 1n), setData(7n, 2n)]);
    expect(result.problems).toMatchObject([{ severity: "info", code: "DIGEST_UNPROVEN" }]);
    expect(result.txnDigests).toEqual({ compared: 1, matched: 0 });
  });

  it("of txns may begin to match late when it is not known when the snapshot was done", async () => {
    const [d7 = 0n, d8 = 0n] = await digestsAt(7n, 8n);
    const result = await replayed(at5, [setData(6n, 1n), setData(7n, d7), setData(8n, d8)]);
    expect(result).toMatchObject({ matchedAt: 7n, txnDigests: { compared: 3, matched: 2 }, problems: [] });
  });

  it("of another version are not compared", async () => {
    const result = await replayed({ ...at5, digest: { zxid: 5n, version: 3, value: 1n } }, [setData(6n)]);
    expect(result).toMatchObject({ snapshotDigest: "absent", problems: [] });
  });

  it("may come from a server that knows only ASCII, with a mark for each other character", async () => {
    const write = (name: string, digest?: bigint) => [
      { zxid: 6n, type: 1, body: body.create(`/a/${name}`, 1, { data: "\u00fc" }) },
      { zxid: 7n, body: body.setData(`/a/${name}`, "x", 1) },
      { zxid: 8n, type: 1, body: body.create(`/a/${name}/k`, 1), ...(digest === undefined ? {} : { digest }) },
    ];
    const name = "gr\u00fc\u00dfe";
    const utf8 = await replayed(at5, write(name));
    const ascii = await replayed(at5, write("gr??e"));
    expect(ascii.digest).not.toBe(utf8.digest);
    expect(await replayed(at5, write(name, ascii.digest))).toMatchObject({ charset: "ascii", matchedAt: 8n });
    expect(await replayed(at5, write(name, utf8.digest))).toMatchObject({ charset: "utf8", matchedAt: 8n });
    const wrong = await replayed(at5, write(name, utf8.digest + 1n));
    expect(wrong.txnDigests).toEqual({ compared: 1, matched: 0 });
  });

  it("leave out what is below /zookeeper, and nothing else", async () => {
    const nodes = [
      { path: "" },
      { path: "/zookeeper" },
      { path: "/zookeeper/a" },
      { path: "/zookeepers" },
      { path: "/zookeepers/a" },
    ];
    const digest = async (path: string) => {
      const txns = path === "" ? [] : [{ zxid: 6n, body: body.setData(path, "x", 1) }];
      return (await replayed({ nodes, zxid: 5n }, txns)).digest;
    };
    const before = await digest("");
    expect(await digest("/zookeeper/a")).toBe(before);
    for (const path of ["/zookeeper", "/zookeepers", "/zookeepers/a"]) expect(await digest(path)).not.toBe(before);
  });
});

describe("where a replay stops", () => {
  const txns = [6n, 7n, 8n].map((zxid) => ({ zxid, body: body.setData("/a", String(zxid), Number(zxid)) }));

  it.each([
    [{ zxid: 5n }, 5n, null],
    [{ zxid: 7n }, 7n, 1007],
    [{ zxid: 100n }, 8n, 1008],
    [{ timeMs: 1006 }, 6n, 1006],
    [{ timeMs: 1006.5 }, 6n, 1006],
    [{ timeMs: 9 }, 5n, null],
  ])("up to %o it ends at %s", async (upTo, zxid, timeMs) => {
    expect(await replayed(at5, txns, { upTo })).toMatchObject({ zxid, timeMs, problems: [] });
  });

  it("passes over what the snapshot has seen in full", async () => {
    const result = await replayed({ nodes: NODES, zxid: 7n }, txns);
    expect(result).toMatchObject({ zxid: 8n, txns: 1 });
  });

  it.each([
    ["REPLAY_GAP", [6n, 8n], "txns are missing between 0x6 and 0x8"],
    ["REPLAY_OUT_OF_ORDER", [6n, 7n, 6n], "0x6 comes after 0x7"],
  ])("%s is a loss", async (code, zxids, message) => {
    const log = zxids.map((zxid, index) => ({ zxid, body: body.setData("/a", "", index) }));
    const { problems } = await replayed(at5, log);
    expect(problems).toMatchObject([{ severity: "data-loss", code, file: "log" }]);
    expect(problems[0]?.message).toContain(message);
  });

  it("follows into a new epoch", async () => {
    const log = [6n, 0x1_0000_0001n, 0x3_0000_0001n].map((zxid) => ({ zxid, body: body.setData("/a", "", 1) }));
    expect(await replayed(at5, log)).toMatchObject({ zxid: 0x3_0000_0001n, problems: [] });
  });

  it("refuses records before there is anything to apply them to", () => {
    const replay = createReplay();
    const record = {
      offset: 0,
      length: 0,
      zxid: 1n,
      timeMs: 0,
      sessionId: 0n,
      cxid: 0,
      type: 5,
      entry: Buffer.alloc(0),
    };
    expect(() => replay.onRecord(record)).toThrow("before snapshotEnd() or startEmpty()");
  });
});
