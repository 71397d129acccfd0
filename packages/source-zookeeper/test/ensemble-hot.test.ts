import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { openSeries, silentLogger } from "@zk-backyp/core";
import { createFsSink } from "@zk-backyp/sink-fs";
import {
  makeCertificates,
  requirePart,
  startZooKeeper,
  type ZooKeeperServer,
  zooKeeperMissing,
} from "@zk-backyp/testbed";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import zookeeper, { type ZooKeeperSourceOptions } from "../src/index.ts";

describe.skipIf(!requirePart(zooKeeperMissing()))("a hot backup", () => {
  let folder: string;
  let server: ZooKeeperServer | undefined;

  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), "zk-backyp-hot-ask-"));
  });
  afterEach(async () => {
    await server?.kill();
    await rm(folder, { recursive: true });
  });

  const backUp = async (options: ZooKeeperSourceOptions) => {
    // As the command does it: paths count from the configuration's folder.
    const source = await zookeeper.create(zookeeper.parseOptions(options), { folder, logger: silentLogger });
    const series = openSeries({ prefix: "zk", source, sink: createFsSink({ path: join(folder, "backups") }) });
    return (await series.backup())?.facts;
  };

  it("finds a server's files and asks it by its AdminServer alone", async () => {
    server = await startZooKeeper({ directory: join(folder, "server") });
    expect(await backUp({ server: `http://127.0.0.1:${server.adminPort}` })).toMatchObject({
      dataDir: server.dataDir,
      server: { role: "standalone", digestMismatches: 0 },
    });
  });

  it("asks over TLS, where it was told so or zoo.cfg has no other port", async () => {
    const { zooCfg } = await makeCertificates(join(folder, "certificates"));
    const tls = {
      caFile: "certificates/ca.pem",
      certFile: "certificates/client-cert.pem",
      keyFile: "certificates/client-key.pem",
    };
    server = await startZooKeeper({ directory: join(folder, "server"), config: zooCfg });
    const expected = { dataDir: server.dataDir, server: { role: "standalone" } };
    expect(await backUp({ server: `tls://localhost:${server.clientPort}`, tls })).toMatchObject(expected);

    // One port speaks both here, so that the testbed can see the server start.
    const text = await readFile(server.configFile, "utf8");
    await writeFile(join(folder, "zoo.cfg"), text.replace(/^clientPort=/m, "secureClientPort="));
    expect(await backUp({ zooCfg: "zoo.cfg", tls })).toMatchObject(expected);
    expect(await backUp({ zooCfg: "zoo.cfg" })).toMatchObject({ dataDir: server.dataDir, server: null });
  });

  it("asks at the port in the dynamic file, after a change of the ensemble at run time", async () => {
    server = await startZooKeeper({ directory: join(folder, "server") });
    const text = await readFile(server.configFile, "utf8");
    const port = server.clientPort;
    await writeFile(join(folder, "zoo.cfg"), `${text.replace(/^clientPort.*\n/gm, "")}dynamicConfigFile=dynamic\n`);
    await writeFile(join(folder, "dynamic"), `server.1=127.0.0.1:1:1:participant;0.0.0.0:${port}\n`);
    await writeFile(join(server.dataDir, "myid"), "1\n");
    expect(await backUp({ zooCfg: "zoo.cfg" })).toMatchObject({ server: { role: "standalone" } });
    await writeFile(join(server.dataDir, "myid"), "2\n");
    expect(await backUp({ zooCfg: "zoo.cfg" })).toMatchObject({ server: null });
  });
});
