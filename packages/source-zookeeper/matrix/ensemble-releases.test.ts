import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fetchRelease, RELEASE_LINES, requireReleases, startEnsemble, type ZooKeeperServer } from "@zk-backyp/testbed";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { mayStop } from "../src/ensemble/may-stop.ts";
import { formatServerAddress, type ServerAddress } from "../src/ensemble/server-address.ts";
import { viewEnsemble } from "../src/ensemble/view.ts";
import { askDirectories, askStatus, isNotServing } from "../src/server-status.ts";
import { readZooCfg } from "../src/zoo-cfg.ts";

const { signal } = new AbortController();

describe.skipIf(!(await requireReleases()))("an ensemble", () => {
  let folder: string;
  let servers: ZooKeeperServer[];

  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), "zk-backyp-releases-"));
    servers = [];
  });
  afterEach(async () => {
    for (const server of servers) await server.kill();
    await rm(folder, { recursive: true });
  });

  const word = ({ clientPort: port }: ZooKeeperServer): ServerAddress => ({ host: "127.0.0.1", port });
  const admin = ({ adminPort: port }: ZooKeeperServer): ServerAddress => ({ scheme: "http", host: "127.0.0.1", port });

  it.each(RELEASE_LINES)(
    "of %s is seen by four-letter words, and alike by the AdminServer where there is one",
    async (line) => {
      const release = await fetchRelease(line);
      servers = await startEnsemble({ directory: folder, size: 3, release });
      const roles = await Promise.all(servers.map(async (server) => (await askStatus(word(server), {}, signal)).role));
      const leaderId = servers[roles.indexOf("leader")]?.id;
      expect(leaderId).toBeDefined();
      const since36 = line !== "3.4" && line !== "3.5";
      for (const addressOf of line === "3.4" ? [word] : [word, admin]) {
        const isAdmin = addressOf === admin;
        const members = servers.map((server) => formatServerAddress(addressOf(server)));
        for (const server of servers) {
          const address = addressOf(server);
          const status = await askStatus(address, {}, signal);
          const leads = status.role === "leader";
          expect(status).toEqual({
            version: release.version,
            role: expect.stringMatching(/^(leader|follower)$/),
            zxid: expect.any(BigInt),
            nodeCount: line === "3.4" ? 4 : 5,
            digestMismatches: since36 ? 0 : null,
            serverId: server.id,
            leaderId: isAdmin && since36 ? leaderId : null,
            syncedFollowers: leads ? 2 : null,
            learners: leads ? 2 : null,
          });
          expect(await askDirectories(address, {}, signal)).toEqual({
            dataDir: server.snapshotDirectory,
            dataLogDir: server.logDirectory,
          });
          const zooCfg = await readZooCfg(server.configFile);
          const view = await viewEnsemble({ server: address, dataDir: server.dataDir, zooCfg, members }, signal);
          expect(view).toMatchObject({
            doubt: null,
            leader: { id: leaderId },
            rule: { voters: [1, 2, 3], groups: null },
          });
          expect(mayStop(view, { ifLeader: "skip", allowStandalone: false })).toMatchObject(
            leads ? { reason: "leader" } : { stop: true, spareVoters: 0 },
          );
        }
      }

      const [first, second, third] = servers as [ZooKeeperServer, ZooKeeperServer, ZooKeeperServer];
      await Promise.all([first.kill(), second.kill()]);
      for (const address of line === "3.4" ? [word(third)] : [word(third), admin(third)]) {
        await expect
          .poll(() => askStatus(address, {}, signal).catch(isNotServing), { timeout: 60_000, interval: 200 })
          .toBe(true);
      }
    },
  );
});
