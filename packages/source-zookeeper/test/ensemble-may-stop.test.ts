import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import {
  connectZooKeeper,
  makeCertificates,
  requirePart,
  startEnsemble,
  startZooKeeper,
  zooKeeperMissing,
} from "@zk-backyp/testbed";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { mayStop, type StopDecision, type StopPolicy } from "../src/ensemble/may-stop.ts";
import type { ServerAddress } from "../src/ensemble/server-address.ts";
import { formatServerAddress } from "../src/ensemble/server-address.ts";
import { type EnsembleView, type ViewOptions, viewEnsemble } from "../src/ensemble/view.ts";
import { readZooCfg } from "../src/zoo-cfg.ts";
import { type Member, startMembers } from "./ensemble-servers.ts";

const { signal } = new AbortController();
const skip: StopPolicy = { ifLeader: "skip", allowStandalone: false };
const proceed: StopPolicy = { ifLeader: "proceed", allowStandalone: false };
const plain = ({ clientPort: port }: { clientPort: number }): ServerAddress => ({ host: "127.0.0.1", port });

describe.skipIf(!requirePart(zooKeeperMissing()))("whether a node of a real ensemble may be stopped", () => {
  let folder: string;
  let running: { kill(): Promise<void> }[];

  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), "zk-backyp-ensemble-"));
    running = [];
  });
  afterEach(async () => {
    await Promise.all(running.map((server) => server.kill()));
    await rm(folder, { recursive: true });
  });

  const see = async (
    member: Pick<Member, "dataDir" | "configFile">,
    server: ServerAddress,
    more: Partial<ViewOptions> = {},
  ): Promise<EnsembleView> =>
    viewEnsemble({ server, dataDir: member.dataDir, zooCfg: await readZooCfg(member.configFile), ...more }, signal);

  const withRole = async (
    members: readonly Member[],
    role: string,
    from: (member: Member) => Promise<EnsembleView>,
  ) => {
    for (const member of members) {
      if ((await from(member)).self.status?.role === role) return member;
    }
    throw new Error(`no member is ${role}`);
  };

  /** While the others notice that somebody is gone, and elect a leader, they may still say what was. */
  const untilRefused = async (decide: () => Promise<StopDecision>): Promise<StopDecision> => {
    const deadline = Date.now() + 30_000;
    while (true) {
      const decision = await decide();
      if (!decision.stop || Date.now() > deadline) return decision;
      await sleep(100);
    }
  };

  it("is told by srvr alone, the only word that is allowed by default: three members, then two, then one", async () => {
    const members = await startMembers({
      folder,
      roles: ["participant", "participant", "participant"],
      clientPortInLines: true,
      ask: plain,
    });
    running.push(...members);
    const look = (member: Member) => see(member, plain(member));
    const follower = await withRole(members, "follower", look);
    const leader = await withRole(members, "leader", look);
    const view = await look(follower);
    expect(view).toMatchObject({
      self: { id: follower.id, status: { serverId: null, digestMismatches: null } },
      leader: { id: leader.id, clients: [plain(leader)] },
      rule: { voters: [1, 2, 3], groups: null },
      doubt: null,
    });
    expect(mayStop(view, skip)).toMatchObject({ stop: true, role: "follower", spareVoters: 0 });
    expect(mayStop(await look(leader), skip)).toMatchObject({ reason: "leader" });
    expect(mayStop(await look(leader), proceed)).toMatchObject({ stop: true, role: "leader", spareVoters: 0 });

    const third = members.find((member) => member !== follower && member !== leader) as Member;
    await third.kill();
    expect(mayStop(await look(follower), proceed)).toEqual({
      stop: false,
      reason: "quorum",
      message: expect.stringMatching(
        new RegExp(`1 of 3 voters would be left, and 2 are needed.*server ${third.id} .*ECONNREFUSED`),
      ),
    });
    await leader.kill();
    const alone = await untilRefused(async () => mayStop(await look(follower), proceed));
    expect(alone).toMatchObject({ stop: false });
    await expect
      .poll(async () => mayStop(await look(follower), proceed), { timeout: 30_000, interval: 200 })
      .toMatchObject({ reason: "not-serving", message: expect.stringMatching(/no quorum/) });
  });

  it("goes by what five members say, each by name, and by what a leader has in sync", async () => {
    const servers = await startEnsemble({ directory: folder, size: 5 });
    running.push(...servers);
    const members = servers.map(({ connectString }) => connectString);
    const look = (server: (typeof servers)[number]) =>
      viewEnsemble({ server: plain(server), dataDir: server.dataDir, zooCfg: null, members }, signal);
    const first = servers[0] as (typeof servers)[number];
    const seen = await look(first);
    expect(seen).toMatchObject({
      self: { id: 1, status: { serverId: 1, digestMismatches: 0 } },
      leader: { status: { syncedFollowers: 4, learners: 4 } },
      rule: { voters: [1, 2, 3, 4, 5] },
      doubt: null,
    });
    expect(seen.others.map(({ id, status }) => [id, status?.serverId])).toEqual([2, 3, 4, 5].map((id) => [id, id]));
    const follower = servers.find(({ id }) => id !== seen.leader?.id) as typeof first;
    const others = servers.filter((server) => server !== follower && server.id !== seen.leader?.id);
    expect(mayStop(await look(follower), skip)).toMatchObject({ stop: true, spareVoters: 1 });
    await others[0]?.kill();
    // Until the leader has noticed, it counts one follower more than answer.
    expect(mayStop(await look(follower), skip)).toMatchObject({ stop: true, spareVoters: 0 });
    await others[1]?.kill();
    const two = mayStop(await look(follower), skip);
    expect(two).toMatchObject({ stop: false, reason: "quorum" });
    if (!two.stop)
      expect(two.message).toMatch(/2 of 5 voters would be left, and 3 are needed.*ECONNREFUSED.*ECONNREFUSED/);
    await others[0]?.start();
    await expect
      .poll(async () => mayStop(await look(follower), skip), { timeout: 30_000 })
      .toMatchObject({ stop: true, spareVoters: 0 });
  });

  it("names a zxid that the node reaches again, also when a new leader has not written yet", async () => {
    const servers = await startEnsemble({ directory: folder, size: 3 });
    running.push(...servers);
    const members = servers.map(({ connectString }) => connectString);
    const look = (server: (typeof servers)[number]) =>
      viewEnsemble({ server: plain(server), dataDir: server.dataDir, zooCfg: null, members }, signal);
    const client = await connectZooKeeper(servers[0]?.connectString as string);
    for (let n = 0; n < 5; n += 1) await client.create(`/n${n}`, Buffer.from("x"));
    await client.close();
    const [first] = servers as [(typeof servers)[number]];
    const leaderId = (await look(first)).leader?.id;
    const leader = servers.find(({ id }) => id === leaderId) ?? first;
    // Makes another one lead, whose first zxid no transaction carries.
    await leader.stop();
    await leader.start();
    await expect
      .poll(async () => mayStop(await look(leader), proceed), { timeout: 30_000 })
      .toMatchObject({ stop: true });
    const view = await look(leader);
    const follower = servers.find(({ id }) => id !== view.leader?.id) as typeof first;
    const decision = mayStop(await look(follower), skip);
    if (!decision.stop) throw new Error(decision.message);
    expect(decision.leaderZxid & 0xffff_ffffn).not.toBe(0n);
    await follower.stop();
    await follower.start();
    await expect
      .poll(async () => ((await look(follower)).self.status?.zxid ?? 0n) >= decision.leaderZxid, { timeout: 30_000 })
      .toBe(true);
  });

  it("counts an observer for nothing, and lets it stop", async () => {
    const members = await startMembers({
      folder,
      roles: ["participant", "participant", "participant", "observer"],
      clientPortInLines: true,
      config: () => ({ "4lw.commands.whitelist": "srvr, mntr, conf" }),
      ask: plain,
    });
    running.push(...members);
    const look = (member: Member) => see(member, plain(member));
    const observer = members[3] as Member;
    expect(mayStop(await look(observer), skip)).toMatchObject({ stop: true, role: "observer", spareVoters: 1 });
    const view = await look(members[0] as Member);
    expect(view.others.at(-1)).toMatchObject({ id: 4, votes: false, status: { role: "observer" } });
    expect(view.leader?.status).toMatchObject({ syncedFollowers: 2, learners: 3 });
    await members[0]?.kill();
    expect(mayStop(await look(observer), skip)).toMatchObject({ stop: true, spareVoters: 0 });
    expect(mayStop(await look(members[1] as Member), proceed)).toMatchObject({ reason: "quorum" });
  });

  it("knows groups and weights, from conf and from zoo.cfg", async () => {
    const groups = { "group.1": "1:2:3", "group.2": "4:5", "weight.5": "3", "group.3": "6", "weight.6": "0" };
    const members = await startMembers({
      folder,
      roles: ["participant", "participant", "participant", "participant", "participant", "observer"],
      clientPortInLines: true,
      // The first one does not tell.
      config: ({ id }) => ({ ...groups, "4lw.commands.whitelist": id === 1 ? "srvr" : "srvr, conf" }),
      ask: plain,
    });
    running.push(...members);
    const decisions = await Promise.all(
      members.map(async (member) => mayStop(await see(member, plain(member)), proceed)),
    );
    expect(decisions).toEqual([
      expect.objectContaining({ stop: true }),
      expect.objectContaining({ stop: true }),
      expect.objectContaining({ stop: true }),
      expect.objectContaining({ stop: true }),
      // It holds more than half of the weight in one of two groups.
      expect.objectContaining({ reason: "quorum", message: expect.stringMatching(/1, 2, 3, 4, hold no quorum/) }),
      expect.objectContaining({ stop: true, role: "observer" }),
    ]);
  });

  it("is told by the AdminServer, with TLS", async () => {
    const { caFile, client, server } = await makeCertificates(join(folder, "certificates"));
    const tls = { caFile, certFile: client.certFile, keyFile: client.keyFile };
    const admin = ({ adminPort: port }: Member): ServerAddress => ({ scheme: "https", host: "localhost", port });
    const members = await startMembers({
      folder,
      roles: ["participant", "participant", "participant", "observer"],
      config: () => ({
        "4lw.commands.whitelist": "ruok",
        "admin.portUnification": "true",
        "ssl.quorum.keyStore.location": server.keyStoreFile,
        "ssl.quorum.keyStore.type": "PEM",
        "ssl.quorum.trustStore.location": caFile,
        "ssl.quorum.trustStore.type": "PEM",
      }),
      ask: admin,
      tls,
    });
    running.push(...members);
    const named = members.map((member) => formatServerAddress(admin(member)));
    const look = (member: Member) => see(member, admin(member), { members: named, tls });
    const follower = await withRole(members, "follower", look);
    const view = await look(follower);
    expect(view).toMatchObject({
      self: { id: follower.id, votes: true, status: { serverId: follower.id, leaderId: view.leader?.id } },
      leader: { status: { syncedFollowers: 2, learners: 3 } },
      doubt: null,
    });
    expect(mayStop(view, skip)).toMatchObject({ stop: true, role: "follower", spareVoters: 0 });
    // The same port answers without TLS, but nobody tells of groups then either.
    const [first] = members as [Member];
    const bare = await viewEnsemble(
      { server: { ...admin(first), scheme: "http" }, dataDir: first.dataDir, zooCfg: null },
      signal,
    );
    expect(bare.doubt).toMatchObject({ reason: "unknown-members" });
    // A whitelist cannot take srvr away, but all the rest.
    expect((await see(first, plain(first))).self.status).toMatchObject({ serverId: null, digestMismatches: null });
  });

  it("is told by four-letter words over TLS, where there is no other client port", async () => {
    const { caFile, client, stranger, zooCfg } = await makeCertificates(join(folder, "certificates"));
    const tls = { caFile, certFile: client.certFile, keyFile: client.keyFile };
    const secure = ({ securePort: port }: Member): ServerAddress => ({ scheme: "tls", host: "127.0.0.1", port });
    const members = await startMembers({
      folder,
      roles: ["participant", "participant", "participant"],
      config: ({ securePort }) => ({
        ...zooCfg,
        "client.portUnification": "",
        clientPort: "",
        clientPortAddress: "",
        secureClientPort: String(securePort),
        secureClientPortAddress: "127.0.0.1",
      }),
      ask: secure,
      tls,
    });
    running.push(...members);
    // They do not tell their ids, and all are on one host.
    const named = members.map((member) => `${member.id}=${formatServerAddress(secure(member))}`);
    const look = (member: Member, files = tls) => see(member, secure(member), { members: named, tls: files });
    const follower = await withRole(members, "follower", (member) => look(member));
    expect(mayStop(await look(follower), skip)).toMatchObject({ stop: true, role: "follower", spareVoters: 0 });

    const refused = await look(follower, { ...tls, certFile: stranger.certFile, keyFile: stranger.keyFile });
    expect(refused.self.problem?.message).toMatch(/it refuses the client certificate in .*stranger/);
    const unknown = await look(follower, { ...tls, caFile: stranger.certFile });
    expect(unknown.self.problem?.message).toMatch(/signed by none of the CAs in/);
    const misnamed = await see(follower, secure(follower), { tls: { ...tls, serverName: "zk.example" } });
    expect(misnamed.self.problem?.message).toMatch(/for another name/);
    await expect(look(follower, { ...tls, caFile: join(folder, "gone") })).rejects.toThrow(/there is no such file/);
  });

  it("is a matter of permission for a standalone server", async () => {
    const server = await startZooKeeper({ directory: folder });
    running.push(server);
    const view = await see(server, plain(server));
    expect(mayStop(view, proceed)).toMatchObject({ reason: "standalone" });
    expect(mayStop(view, { ...skip, allowStandalone: true })).toMatchObject({
      stop: true,
      role: "standalone",
      spareVoters: 0,
    });
  });
});
