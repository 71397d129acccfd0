import { chmod, mkdir, mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { createServer, request, type Server } from "node:http";
import { type AddressInfo, createServer as createTcpServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  type CephRgw,
  cephRgwMissing,
  connectZooKeeper,
  requirePart,
  startCephRgw,
  startZooKeeper,
  unpackFixture,
  writeSampleData,
  type ZooKeeperServer,
  zooKeeperMissing,
} from "@zk-backyp/testbed";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type ControlledServer, startControlledServer } from "./controlled-server.ts";
import { type CliOptions, runCli } from "./run-cli.ts";

interface Item {
  readonly series: string | null;
  readonly name: string;
  readonly status: "ok" | "warning" | "failed";
  readonly message: string;
  readonly remedy: string | null;
}

interface Checked {
  readonly code: number | null;
  readonly items: readonly Item[];
  /** Those that are not ok, as `name status`. */
  readonly trouble: readonly string[];
  item(name: string): Item | undefined;
}

let folder: string;
let count = 0;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "zk-backyp-check-"));
  await chmod(folder, 0o755);
});
afterAll(() => rm(folder, { recursive: true, force: true }));

/** Writes a configuration of one series, with what is common to all tests, and checks it. */
async function check(
  { source, sink, ...series }: { readonly source: object; readonly sink?: object } & Readonly<Record<string, unknown>>,
  more: object = {},
  options: CliOptions = {},
): Promise<Checked> {
  count += 1;
  const path = join(folder, `config-${count}.json`);
  const config = {
    http: { port: 0 },
    stateDir: "state",
    series: {
      zk: { source: { use: "zookeeper", ...source }, sink: { use: "fs", path: "backups", ...sink }, ...series },
    },
    ...more,
  };
  await writeFile(path, JSON.stringify(config));
  const { code, stdout, stderr } = await runCli(["check", "--config", path, "--json"], options);
  expect(stderr).toBe("");
  const { ok, items } = JSON.parse(stdout) as { ok: boolean; items: Item[] };
  expect(ok).toBe(code === 0);
  expect(ok).toBe(items.every(({ status }) => status !== "failed"));
  for (const { status, remedy } of items) expect(remedy === null).toBe(status === "ok");
  return {
    code,
    items,
    trouble: items.filter(({ status }) => status !== "ok").map(({ name, status }) => `${name} ${status}`),
    item: (name) => items.find((item) => item.name === name),
  };
}

/** All files below a folder. */
async function filesIn(path: string): Promise<string[]> {
  const entries = await readdir(path, { recursive: true, withFileTypes: true });
  return entries.filter((entry) => entry.isFile()).map(({ name }) => name);
}

describe("the check of files", () => {
  let dataDir: string;
  beforeAll(async () => {
    ({ dataDir } = await unpackFixture("zookeeper-3.8.0-rich", join(folder, "fixture")));
  });

  it("needs no server, but says that there is none", async () => {
    const { code, trouble, item } = await check({ source: { dataDir } });
    expect({ code, trouble }).toEqual({ code: 0, trouble: ["server warning"] });
    expect(item("data")?.message).toMatch(/can be read: the newest snapshot is snapshot\.3e4, .* 9 logs; .*kB/);
    expect(await filesIn(join(folder, "backups"))).toEqual([]);
    expect(await readdir(folder)).not.toContain("state");
  });

  it("prints a table for people", async () => {
    const path = join(folder, "table.json");
    const series = { zk: { source: { use: "zookeeper", dataDir }, sink: { use: "fs", path: "backups" } } };
    await writeFile(path, JSON.stringify({ http: { port: 0 }, series }));
    const { code, stdout } = await runCli(["check", "--config", path]);
    expect(code).toBe(0);
    expect(stdout).toMatch(/^zk-backyp\n {2}✔ configuration .* is valid: 1 series\n/);
    expect(stdout).toMatch(/\nzk\n {2}✔ data .*\n {2}✔ disk .*\n {2}! server .*\n +→ say zooCfg/);
    expect(stdout).toMatch(/\n\d+ checks: 0 failed, 2 to look at\n$/);
  });

  it("fails where there is no data, and still tries the sink", async () => {
    const { code, trouble, item } = await check({ source: { dataDir: join(folder, "nothing") } });
    expect({ code, trouble }).toEqual({ code: 1, trouble: ["data failed"] });
    expect(item("sink: contract")?.status).toBe("ok");
  });

  it("fails where a server that is named does not answer", async () => {
    const { code, trouble } = await check({ source: { dataDir, server: "127.0.0.1:1" } });
    expect({ code, trouble }).toEqual({ code: 1, trouble: ["server failed"] });
  });

  it.skipIf(process.getuid?.() !== 0)("fails where this user may not read or write", async () => {
    const closed = join(folder, "closed");
    await mkdir(closed, { mode: 0o755, recursive: true });
    const { code, trouble, item } = await check(
      { source: { dataDir }, sink: { path: join(closed, "backups") } },
      { stateDir: join(closed, "state") },
      { uid: 65534 },
    );
    expect(code).toBe(1);
    expect(trouble).toEqual(expect.arrayContaining(["state failed", "sink: store failed"]));
    expect(item("sink: store")).toMatchObject({
      message: expect.stringMatching(/EACCES/),
      remedy: expect.any(String),
    });
    expect(await readdir(closed)).toEqual([]);
  });

  it("says what rules would delete, and deletes nothing", async () => {
    const path = join(folder, "rules.json");
    const sink = { use: "fs", path: "ruled" };
    const config = { series: { zk: { source: { use: "zookeeper", dataDir }, sink, retention: { keepLast: 1 } } } };
    await writeFile(path, JSON.stringify(config));
    for (let backup = 0; backup < 3; backup += 1) {
      expect((await runCli(["backup", "--config", path])).code).toBe(0);
    }
    const before = (await filesIn(join(folder, "ruled"))).sort();
    const { code, item } = await check({ source: { dataDir }, sink: { path: "ruled" }, retention: { keepLast: 1 } });
    expect(code).toBe(0);
    expect(item("retention")).toMatchObject({
      status: "warning",
      message: expect.stringMatching(/of 3 .* 2 would be/),
    });
    expect(before).toHaveLength(6);
    expect((await filesIn(join(folder, "ruled"))).sort()).toEqual(before);
  });

  it("tells who is not to be reached: a port in use, a webhook's host, a program", async () => {
    const taken = createTcpServer();
    const port = await new Promise<number>((resolve) =>
      taken.listen(0, "127.0.0.1", () => resolve((taken.address() as AddressInfo).port)),
    );
    const notifications = [
      { use: "webhook", url: "http://127.0.0.1:9/s3cret-path" },
      { use: "webhook", url: "http://no-such-host.invalid/s3cret-path" },
      { use: "command", command: ["true"] },
      { use: "command", command: ["no-such-program-of-ours"] },
    ];
    const { trouble, items } = await check({ source: { dataDir } }, { http: { port }, notifications });
    taken.close();
    expect(trouble).toEqual(["http warning", "notification 2 failed", "notification 4 failed", "server warning"]);
    expect(JSON.stringify(items)).not.toContain("s3cret");
  });

  it("warns of HTTP without TLS that others can reach, and fails with a certificate that is none", async () => {
    expect((await check({ source: { dataDir } }, { http: { host: "0.0.0.0", port: 0 } })).trouble).toContain(
      "http: access warning",
    );
    const file = join(folder, "no.pem");
    await writeFile(file, "no certificate");
    const tls = { certFile: file, keyFile: file };
    expect((await check({ source: { dataDir } }, { http: { port: 0, tls } })).trouble).toContain("http: tls failed");
  });

  it("ends with 2, and all that is wrong, where the configuration is not valid", async () => {
    const path = join(folder, "wrong.yaml");
    await writeFile(
      path,
      "series:\n  zk:\n    source: { use: zookeeper }\n    snk: { use: fs }\nhttp: { port: many }\n",
    );
    const { code, stdout, stderr } = await runCli(["check", "--config", path, "--json"]);
    expect(code).toBe(2);
    const { error } = JSON.parse(stdout);
    expect(error).toMatchObject({
      code: "ERR_CONFIG_INVALID",
      issues: [
        { path: "series.zk.sink", message: "is missing", example: 'sink: {"use":"fs","path":"/backups"}' },
        { path: "series.zk.snk", message: "is not known: did you mean sink?", line: 4 },
        { path: "http.port", expected: "a whole number from 0 to 65535", found: '"many"', line: 5 },
      ],
    });
    expect(stderr).toMatch(/3 things are wrong in the configuration .*wrong\.yaml/);
    const none = await runCli(["check"], { cwd: folder });
    expect(none).toMatchObject({ code: 2, stderr: expect.stringMatching(/zk-backyp init/) });
  });

  it("takes one series of several", async () => {
    const path = join(folder, "two.json");
    const one = { source: { use: "zookeeper", dataDir }, sink: { use: "fs", path: "two" } };
    await writeFile(path, JSON.stringify({ http: false, series: { a: one, b: one } }));
    const { stdout } = await runCli(["check", "--config", path, "--json", "--series", "b"]);
    const names = (JSON.parse(stdout) as { items: Item[] }).items.map(({ series }) => series);
    expect(new Set(names)).toEqual(new Set([null, "b"]));
    expect((await runCli(["check", "--config", path, "--series", "c"])).code).toBe(2);
  });
});

describe.skipIf(!requirePart(zooKeeperMissing()))("the check of a real server", () => {
  let server: ZooKeeperServer;
  beforeAll(async () => {
    server = await startZooKeeper({ directory: join(folder, "server") });
    const client = await connectZooKeeper(server.connectString);
    await writeSampleData(client);
    await client.close();
  });
  afterAll(() => server?.stop());

  it("finds nothing wrong with a good one, and leaves nothing behind", async () => {
    const { code, trouble, items } = await check({
      source: { zooCfg: server.configFile },
      sink: { path: "good" },
      retention: { keepLast: 3 },
      runOn: "elected",
    });
    expect({ code, trouble }).toEqual({ code: 0, trouble: [] });
    expect(items.map(({ name }) => name)).toEqual([
      "configuration",
      "http",
      "http: access",
      "state",
      "data",
      "disk",
      "server",
      "ensemble",
      "election",
      "sink: store",
      "sink: clock",
      "sink: read",
      "sink: list",
      "sink: delete",
      "sink: contract",
      "sink: room",
      "retention",
    ]);
    expect(items.find(({ name }) => name === "server")?.message).toMatch(/ZooKeeper 3\.\d+\.\d+, standalone, 0x/);
    expect(await filesIn(join(folder, "good"))).toEqual([]);
    const client = await connectZooKeeper(server.connectString);
    expect(await client.getChildren("/zk-backyp/zk-backyp-check")).toEqual([]);
    await client.close();
  });

  it("says on which node it would run", async () => {
    const here = await check({ source: { zooCfg: server.configFile }, runOn: "somewhere-else" });
    expect({ code: here.code, trouble: here.trouble }).toEqual({ code: 0, trouble: ["runs here warning"] });
  });
});

describe.skipIf(!requirePart(zooKeeperMissing()))("the check of a server for cold backups", () => {
  let node: ControlledServer;
  beforeAll(async () => {
    node = await startControlledServer(join(folder, "controlled"));
  });
  afterAll(() => node?.end());

  it.each([
    [true, 0, []],
    [false, 1, ["stop failed"]],
  ])(
    "asks all that a stop asks, and stops nothing, with allowStandalone %s",
    async (allowStandalone, code, trouble) => {
      const pid = await node.pid();
      const cold = { control: node.control, allowStandalone, stayStoppedFile: join(folder, "stay-stopped") };
      const checked = await check({ source: { zooCfg: node.server.configFile, cold }, mode: "cold" });
      expect({ code: checked.code, trouble: checked.trouble }).toEqual({ code, trouble });
      expect(checked.item("node control")?.message).toMatch(/is running/);
      expect(await node.pid()).toBe(pid);
    },
  );

  it("tells a control that cannot be asked, and an operator's wish", async () => {
    const control = { ...node.control, status: [join(folder, "none")] };
    const source = { zooCfg: node.server.configFile, mode: "cold" };
    const wrong = await check({ source: { ...source, cold: { control, allowStandalone: true } } });
    expect({ code: wrong.code, trouble: wrong.trouble }).toEqual({ code: 1, trouble: ["node control failed"] });
    const stayStoppedFile = join(folder, "stay-stopped-now");
    await writeFile(stayStoppedFile, "");
    const kept = await check({
      source: { ...source, cold: { control: node.control, allowStandalone: true, stayStoppedFile } },
    });
    expect({ code: kept.code, trouble: kept.trouble }).toEqual({ code: 0, trouble: ["node control warning"] });
  });
});

describe.skipIf(!requirePart(cephRgwMissing()))("the check of a real S3 store", () => {
  let s3: CephRgw;
  let dataDir: string;
  let env: Record<string, string>;
  beforeAll(async () => {
    s3 = await startCephRgw({ directory: join(folder, "rgw") });
    await s3.createBucket("backups");
    ({ dataDir } = await unpackFixture("zookeeper-3.8.0", join(folder, "fixture-s3")));
    env = { KEY_ID: s3.accessKeyId, KEY: s3.secretAccessKey };
  });
  afterAll(() => s3?.stop());

  const sink = (more: object = {}): object => ({
    use: "s3",
    path: undefined,
    bucket: "backups",
    endpoint: s3.endpoint,
    accessKeyId: { env: "KEY_ID" },
    secretAccessKey: { env: "KEY" },
    ...more,
  });

  it("finds nothing wrong with a good one, and leaves neither objects nor uploads", async () => {
    const { code, trouble } = await check(
      { source: { dataDir }, sink: sink(), retention: { keepLast: 1 } },
      {},
      { env },
    );
    expect({ code, trouble }).toEqual({ code: 0, trouble: ["server warning"] });
    expect(await s3.objects("backups")).toEqual([]);
    expect(await s3.unfinishedUploads("backups")).toEqual([]);
  });

  it.each([
    ["a wrong secret", {}, { KEY: "wrong-wrong-wrong" }, /denied|signature|refused|credentials/i, /right to store/],
    ["a bucket that is not there", { bucket: "none" }, {}, /none/, /create the bucket/],
    [
      "a store that is not there",
      { endpoint: "http://127.0.0.1:1", maxAttempts: 1 },
      {},
      /127\.0\.0\.1:1/,
      /can be reached/,
    ],
  ])("fails with %s", async (_what, more, wrongEnv, message, remedy) => {
    const { code, item } = await check({ source: { dataDir }, sink: sink(more) }, {}, { env: { ...env, ...wrongEnv } });
    expect(code).toBe(1);
    expect(item("sink: store")).toMatchObject({
      status: "failed",
      message: expect.stringMatching(message),
      remedy: expect.stringMatching(remedy),
    });
    expect(JSON.stringify(item("sink: store"))).not.toContain(s3.secretAccessKey);
  });

  describe("whose credentials lack a right", () => {
    let proxy: Server;
    let denied: (method: string, url: string) => boolean;
    let endpoint: string;
    beforeAll(async () => {
      proxy = createServer((incoming, outgoing) => {
        const { method = "", url = "", headers } = incoming;
        if (denied(method, url)) {
          incoming.resume();
          outgoing.writeHead(403, { "content-type": "application/xml" });
          outgoing.end("<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>");
          return;
        }
        const forwarded = request({ host: "127.0.0.1", port: s3.port, method, path: url, headers }, (answer) => {
          outgoing.writeHead(answer.statusCode ?? 500, answer.headers);
          answer.pipe(outgoing);
        });
        forwarded.on("error", () => outgoing.destroy());
        incoming.pipe(forwarded);
      });
      await new Promise<void>((resolve) => proxy.listen(0, "127.0.0.1", resolve));
      endpoint = `http://127.0.0.1:${(proxy.address() as AddressInfo).port}`;
    });
    afterAll(() => {
      proxy.closeAllConnections();
      proxy.close();
    });

    it("needs none to delete without retention, and one with it", async () => {
      denied = (method) => method === "DELETE";
      const without = await check({ source: { dataDir }, sink: sink({ endpoint, prefix: "a" }) }, {}, { env });
      expect({ code: without.code, item: without.item("sink: delete") }).toMatchObject({
        code: 0,
        item: { status: "warning" },
      });
      const retention = { keepLast: 1 };
      const with_ = await check({ source: { dataDir }, sink: sink({ endpoint, prefix: "b" }), retention }, {}, { env });
      expect({ code: with_.code, item: with_.item("sink: delete") }).toMatchObject({
        code: 1,
        item: { status: "failed", remedy: expect.stringMatching(/retention needs/) },
      });
      // One probe each, which it names.
      expect(await s3.objects("backups")).toEqual([
        expect.stringMatching(/^a\/zk\/check-.*\.probe$/),
        expect.stringMatching(/^b\/zk\/check-.*\.probe$/),
      ]);
    });

    it("tells the one to read, and the one to list", async () => {
      denied = (method, url) => method === "GET" && !url.includes("list-type");
      const reading = await check({ source: { dataDir }, sink: sink({ endpoint, prefix: "c" }) }, {}, { env });
      expect(reading.trouble).toContain("sink: read failed");
      denied = (method, url) => method === "GET" && url.includes("list-type");
      const listing = await check({ source: { dataDir }, sink: sink({ endpoint, prefix: "d" }) }, {}, { env });
      expect(listing.trouble).toContain("sink: list failed");
      expect((await s3.objects("backups")).filter((key) => /^[cd]/.test(key))).toEqual([]);
    });

    it("warns where unfinished uploads cannot be listed", async () => {
      denied = (_method, url) => /[?&]uploads(=&|=$|&|$)/.test(url) && _method === "GET";
      const { code, trouble, item } = await check(
        { source: { dataDir }, sink: sink({ endpoint, prefix: "e" }), retention: { keepLast: 1 } },
        {},
        { env },
      );
      expect({ code, trouble }).toEqual({ code: 0, trouble: ["server warning", "note warning"] });
      expect(item("note")?.message).toMatch(/unfinished uploads/);
    });
  });
});
