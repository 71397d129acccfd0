import { describe, expect, it } from "vitest";
import { acl, list } from "../testing/jute.ts";
import type { MadeTxn } from "../testing/made-log.ts";
import type { MadeSnapshot } from "../testing/made-snapshot.ts";
import { body, OPEN, READ_ONLY, replayed } from "../testing/replayed.ts";
import type { ReplayResult } from "./replay.ts";

const ALL = ["3.8.4", "3.8.5", "3.9.2", "3.9.3", "3.9.4"];
const BEFORE_REPAIR = ["3.8.4", "3.9.2", "3.9.3"];

const SESSION = 0x100_0000_0000_0001n;

/** `/p` has the ACL 5, `/q` the ACL 6. The snapshot holds neither, as it does where they were new when it was written. */
const SNAPSHOT: MadeSnapshot = {
  sessions: [SESSION],
  aclIds: [3n],
  nodes: [
    { path: "", aclId: 3n },
    { path: "/fine", aclId: 3n },
    { path: "/p", aclId: 5n },
    { path: "/p/c" },
    { path: "/q", aclId: 6n },
    { path: "/q/e", owner: SESSION },
  ],
};
const TYPES = { create: 1, delete: 2, setData: 5, setAcl: 7, multi: 14, create2: 15, container: 19, ttl: 21 } as const;
const other = (name: string): Buffer => list(acl(31, "digest", name));

type Step = readonly [type: number, body: Buffer];

function replay(steps: readonly Step[], snapshot: MadeSnapshot = SNAPSHOT): Promise<ReplayResult> {
  const txns = steps.map(([type, made], index): MadeTxn => ({ zxid: BigInt(index + 1), type, body: made }));
  return replayed(snapshot, txns);
}

describe("servers from 3.8.4 and 3.9.2 on do not survive, of a znode whose ACL is missing,", () => {
  it.each<[string, Step, string]>([
    ["the creation of a child", [TYPES.create, body.create("/p/new", 1)], "/p"],
    ["the creation of a child that is there", [TYPES.create2, body.create("/p/c", 1)], "/p"],
    ["the creation of a container", [TYPES.container, body.createContainer("/p/new", 1)], "/p"],
    ["the creation of a child with a time to live", [TYPES.ttl, body.createTtl("/p/new", 1, 1000n)], "/p"],
    ["the deletion of a child", [TYPES.delete, body.delete("/p/c")], "/p"],
    ["its deletion", [TYPES.delete, body.delete("/p")], "/p"],
    ["new data", [TYPES.setData, body.setData("/q", "x", 1)], "/q"],
    [
      "new data in a multi",
      [TYPES.multi, body.multi([5, body.setData("/fine", "x", 1)], [5, body.setData("/q", "x", 1)])],
      "/q",
    ],
    ["the end of a session that has a child", [-11, body.closeSession("/q/e")], "/q"],
    ["the end of a session that lists nothing", [-11, Buffer.alloc(0)], "/q"],
  ])("%s", async (_, step, path) => {
    const { problems, refusedBy } = await replay([[TYPES.setData, body.setData("/fine", "y", 1)], step]);
    expect(refusedBy).toEqual(ALL);
    expect(problems).toEqual([
      {
        severity: "fatal",
        code: "DANGLING_ACL_USED",
        file: "log",
        offset: expect.any(Number),
        message: expect.stringMatching(
          `^0x2 needs the ACL of ${path}, .* from 3\\.8\\.4 and 3\\.9\\.2 on do not start`,
        ),
      },
    ]);
  });
});

describe("nobody needs the missing ACL for", () => {
  it.each<[string, readonly Step[]]>([
    [
      "other znodes",
      [
        [TYPES.create, body.create("/fine/new", 1)],
        [TYPES.delete, body.delete("/fine/new")],
      ],
    ],
    ["znodes below its children", [[TYPES.create, body.create("/p/c/new", 1)]]],
    ["the deletion of a child that is gone", [[TYPES.delete, body.delete("/p/gone")]]],
    [
      "a multi of which a part failed",
      [[TYPES.multi, body.multi([5, body.setData("/q", "x", 1)], [-1, Buffer.alloc(4)])]],
    ],
    [
      "a new ACL, nor for what comes after it",
      [
        [TYPES.setAcl, body.setAcl("/p", READ_ONLY, 1)],
        [TYPES.create, body.create("/p/new", 1)],
        [TYPES.setData, body.setData("/p", "x", 1)],
        [TYPES.delete, body.delete("/p/new")],
      ],
    ],
    [
      "the open ACL",
      [
        [TYPES.setAcl, body.setAcl("/p", OPEN, 1)],
        [TYPES.setData, body.setData("/p", "x", 1)],
      ],
    ],
  ])("%s", async (_, steps) => {
    expect(await replay(steps)).toMatchObject({ problems: [], refusedBy: [] });
  });
});

it("nor do they survive the deletion of a child at the end of their start, when its session has ended", async () => {
  const steps: Step[] = [[TYPES.setData, body.setData("/fine", "y", 1)]];
  expect((await replay(steps)).refusedBy).toEqual([]);
  const { problems, refusedBy } = await replay(steps, { ...SNAPSHOT, sessions: [] });
  expect(refusedBy).toEqual(ALL);
  const message = expect.stringMatching(/^the deletion of what ended sessions left needs the ACL of \/q,/);
  expect(problems).toMatchObject([{ code: "DANGLING_ACL_USED", file: null, offset: null, message }]);
});

it("counts the txns and names the first", async () => {
  const { problems } = await replay([
    [TYPES.setData, body.setData("/q", "x", 1)],
    [TYPES.setData, body.setData("/p", "x", 1)],
    [TYPES.delete, body.delete("/p/c")],
  ]);
  expect(problems).toMatchObject([
    { offset: 16, message: expect.stringMatching(/^0x1 needs .*\/q.*, and 2 later txns/) },
  ]);
});

it("a creation of the znode itself gives it the ACL from 3.8.5 and 3.9.4 on, and not before", async () => {
  const { problems, refusedBy } = await replay([
    [TYPES.create, body.create("/q", 1, { acls: other("a") })],
    [TYPES.setData, body.setData("/q", "x", 1)],
  ]);
  expect(refusedBy).toEqual(BEFORE_REPAIR);
  expect(problems).toMatchObject([
    { message: expect.stringMatching(/^0x2 .* of 3\.8\.4, 3\.9\.2 and 3\.9\.3 do not/) },
  ]);
});

describe("ids are given out again as a server does it:", () => {
  it("an ACL that comes to have the dangling id takes its place", async () => {
    const { refusedBy } = await replay([
      [TYPES.setAcl, body.setAcl("/fine", other("four"), 1)],
      [TYPES.create, body.create("/five", 1, { acls: other("five") })],
      [TYPES.setData, body.setData("/p", "x", 1)],
    ]);
    expect(refusedBy).toEqual([]);
  });

  it("an ACL that the snapshot has under an id gets no new one", async () => {
    const known = list(acl(31, "digest", "a:b"), acl(1, "world", "anyone"));
    const { refusedBy } = await replay([
      [TYPES.create, body.create("/four", 1, { acls: other("four") })],
      [TYPES.create, body.create("/three", 1, { acls: known })],
      [TYPES.setData, body.setData("/p", "x", 1)],
    ]);
    expect(refusedBy).toEqual(ALL);
  });

  it("taking an ACL from a znode that was not counted makes others dangle", async () => {
    const snapshot = { nodes: [{ path: "" }, { path: "/m", aclId: 2n }, { path: "/n", aclId: 2n }] };
    const shared: Step[] = ["/m", "/n"].map((path) => [TYPES.setAcl, body.setAcl(path, other("new"), 1)]);
    expect((await replay(shared, snapshot)).refusedBy).toEqual([]);
    const { refusedBy, problems } = await replay([...shared, [TYPES.create, body.create("/m/c", 1)]], snapshot);
    expect(refusedBy).toEqual(ALL);
    expect(problems).toMatchObject([{ code: "DANGLING_ACL_USED", message: expect.stringContaining("the ACL of /m,") }]);
  });
});
