import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { isBackypError } from "@zk-backyp/core";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { parseProperties, readZooCfg } from "../zoo-cfg.ts";
import { configuredMembership, isSameRule, type Member, parseMembership, readMyid } from "./members.ts";

const parse = (text: string) => parseMembership(parseProperties(text), "zoo.cfg");
const member = (fields: Partial<Member>): Member => ({ id: 1, hosts: ["a"], votes: true, client: null, ...fields });

describe("a server.N line", () => {
  it.each<[string, Member]>([
    ["a:2888:3888", member({})],
    ["a:2888:3888:participant", member({})],
    ["a:2888:3888:observer", member({ votes: false })],
    ["a:2888:3888:OBSERVER", member({ votes: false })],
    ["a:2888:3888;2181", member({ client: { host: null, port: 2181 } })],
    ["a:2888:3888:observer;b:2181", member({ votes: false, client: { host: "b", port: 2181 } })],
    ["a:2888:3888;0.0.0.0:2181", member({ client: { host: null, port: 2181 } })],
    ["a:2888:3888;[::]:2181", member({ client: { host: null, port: 2181 } })],
    ["a:2888:3888;[fe80::1]:2181", member({ client: { host: "fe80::1", port: 2181 } })],
    ["[::1]:2888:3888;2181", member({ hosts: ["::1"], client: { host: null, port: 2181 } })],
    ["a:2888:3888|b:2889:3889", member({ hosts: ["a", "b"] })],
    [
      "a:2888:3888:observer|[::1]:2889:3889:observer;2181",
      member({ hosts: ["a", "::1"], votes: false, client: { host: null, port: 2181 } }),
    ],
    ["a:2888", member({})],
  ])("%s is read", (value, expected) => {
    expect(parse(`server.1=${value}\n`)?.members).toEqual([expected]);
  });

  it.each([
    "",
    "a",
    "a:b:c",
    "a:2888:3888:leader",
    "a:2888:3888;x",
    "a:2888:3888;1;2",
    "a:2888:3888|",
    "::1:2888:3888",
    "a:2888:3888:participant|b:2888:3888:observer",
    "a:2888:3888:observer|b:2888:3888",
  ])("%j is refused", (value) => {
    expect(() => parse(`server.1=${value}\n`)).toThrow(
      /cannot tell the ensemble's members from zoo.cfg: server.1=.* is not understood/,
    );
  });
});

describe("an ensemble's members", () => {
  const three = "server.1=a:1:1\nserver.2=b:1:1\nserver.3=c:1:1\n";

  it("are none for a standalone server", () => {
    expect(parse("dataDir=/d\nclientPort=2181\n")).toBeNull();
  });

  it("vote by majority, observers not", () => {
    expect(parse(`${three}server.4=d:1:1:observer\ndataDir=/x\n`)?.rule).toEqual({ voters: [1, 2, 3], groups: null });
  });

  it("vote in groups, a participant with the weight 1 where nothing is said", () => {
    expect(parse(`${three}server.4=d:1:1:observer\ngroup.1=1:2\ngroup.2=3:4\nweight.2=5\n`)?.rule).toEqual({
      voters: [1, 2, 3],
      groups: [
        [
          { id: 1, weight: 1 },
          { id: 2, weight: 5 },
        ],
        [
          { id: 3, weight: 1 },
          { id: 4, weight: 0 },
        ],
      ],
    });
  });

  it.each([
    ["group.1=1:2\ngroup.2=2:3", /server 2 is in more than one group/],
    ["group.1=1:2", /server 3 is in no group/],
    ["weight.1=2", /server 1 is in no group/],
    ["group.1=1:x:3", /group.1=1:x:3 is not understood/],
    ["group.1=1:2:3\nweight.1=-1", /weight.1=-1 is not understood/],
  ])("with %j are refused, as ZooKeeper does", (lines, message) => {
    expect(() => parse(`${three}${lines}\n`)).toThrow(message);
  });

  it.each<[string, string, string, boolean]>([
    ["in another order", three, "server.3=z:9:9\nserver.1=y:9:9\nserver.2=x:9:9\n", true],
    ["with one more observer", three, `${three}server.4=d:1:1:observer\n`, true],
    ["with one more voter", three, `${three}server.4=d:1:1\n`, false],
    ["with one voter that only observes", three, "server.1=a:1:1\nserver.2=b:1:1\nserver.3=c:1:1:observer\n", false],
    ["in groups", three, `${three}group.1=1:2:3\n`, false],
    [
      "in groups in another order",
      `${three}group.1=1:2\ngroup.2=3\n`,
      `${three}group.7=3\ngroup.8=2:1\nweight.1=1\n`,
      true,
    ],
    [
      "in groups with another weight",
      `${three}group.1=1:2\ngroup.2=3\n`,
      `${three}group.1=1:2\ngroup.2=3\nweight.1=2\n`,
      false,
    ],
  ])("%s decide alike, or not", (_, one, other, same) => {
    const rule = (text: string) => parse(text)?.rule ?? { voters: [], groups: null };
    expect(isSameRule(rule(one), rule(other))).toBe(same);
  });
});

describe("the files of a member", () => {
  let folder: string;
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), "zk-backyp-members-"));
  });
  afterEach(async () => {
    await rm(folder, { recursive: true });
  });

  const configured = async (files: Record<string, string>) => {
    for (const [name, text] of Object.entries(files)) await writeFile(join(folder, name), text);
    return configuredMembership(await readZooCfg(join(folder, "zoo.cfg")));
  };

  it("name the members in zoo.cfg", async () => {
    expect((await configured({ "zoo.cfg": "server.7=a:1:1\n" }))?.rule.voters).toEqual([7]);
  });

  it.each(["zoo.cfg.dynamic.100000000", "./zoo.cfg.dynamic.100000000"])(
    "name them in the dynamic file %s, beside zoo.cfg",
    async (name) => {
      const found = await configured({
        "zoo.cfg": `dynamicConfigFile=${name}\n`,
        "zoo.cfg.dynamic.100000000": "server.2=a:1:1:participant;2182\n",
      });
      expect(found?.members).toEqual([member({ id: 2, client: { host: null, port: 2182 } })]);
    },
  );

  it("are an error where the dynamic file is gone", async () => {
    await expect(configured({ "zoo.cfg": "dynamicConfigFile=gone\n" })).rejects.toSatisfy(
      (error) => isBackypError(error, "ERR_SOURCE_UNAVAILABLE") && /gone: there is no such file/.test(error.message),
    );
  });

  it.each<[string | null, number | null]>([
    ["3\n", 3],
    ["3", 3],
    ["12\nmore\n", 12],
    [null, null],
  ])("tell the id: myid %j is %j", async (text, id) => {
    if (text !== null) await writeFile(join(folder, "myid"), text);
    expect(await readMyid(folder)).toBe(id);
  });

  it.each(["", "x\n", "-1\n", "1.5"])("are an error with the myid %j", async (text) => {
    await writeFile(join(folder, "myid"), text);
    await expect(readMyid(folder)).rejects.toThrow(/myid: its first line is no number/);
  });
});
