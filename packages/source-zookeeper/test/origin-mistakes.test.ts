import { readdirSync, readFileSync, rmSync } from "node:fs";
import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { BackypError, type Logger, type Sink, silentLogger } from "@zk-backyp/core";
import { memorySink, withFaults } from "@zk-backyp/core/testing";
import { flipBit, freePorts, monitMissing, requirePart, startMonit } from "@zk-backyp/testbed";
import { checkDirectory } from "@zk-backyp/zookeeper-files";
import { describe, expect, it, onTestFinished } from "vitest";
import { createS3Sink } from "../../sink-s3/src/index.ts";
import { MAX_PARTS, partSize, splitIntoParts } from "../../sink-s3/src/multipart.ts";
import { openNodeControl } from "../src/node-control/open-node-control.ts";
import { makeEnsemble } from "./made-node.ts";
import { type MadeNodeOptions, type MadeNodeRuns, makeNodeRuns } from "./made-node-runs.ts";
import { slowNode } from "./slow-node.ts";

// What an older tool for the same purpose did wrong, and what must never happen here.

const GIB = 1024 ** 3;

function prepare(options: Omit<MadeNodeOptions, "onTestFinished"> = {}): Promise<MadeNodeRuns> {
  return makeNodeRuns({ ...options, onTestFinished });
}

async function temporaryFolder(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), "zk-backyp-mistakes-"));
  onTestFinished(() => rm(folder, { recursive: true, force: true }));
  return folder;
}

/** One that has ended, and that nobody has reaped, is not. */
function isAlive(pid: number): boolean {
  try {
    return !/\) [ZX] /.test(readFileSync(`/proc/${pid}/stat`, "latin1"));
  } catch {
    return false;
  }
}

describe("mistake 1: any error between stop and start left ZooKeeper down for good", () => {
  const fail = (what: string): never => {
    throw new Error(what);
  };
  const failingLogger = (at: string): Logger => ({
    ...silentLogger,
    info: (facts: object) => ("step" in facts && facts.step === at ? fail(`no log at ${at}`) : undefined),
  });
  it.each<[string, (run: MadeNodeRuns) => void, { logger?: Logger; isGood?: boolean }]>([
    [
      "the stop",
      ({ node }) => {
        node.onStop = async (usual) => {
          await usual();
          fail("the stop program failed after it was done");
        };
      },
      {},
    ],
    [
      "watching the stop",
      ({ node }) => {
        let looks = 0;
        node.onStatus = (usual) => {
          looks += 1;
          return looks === 3 ? fail("the supervisor's answer makes no sense") : usual();
        };
      },
      {},
    ],
    [
      "the linking",
      (run) => run.at("stopped", () => rmSync(join(run.dataLogDir, "version-2"), { recursive: true })),
      {},
    ],
    [
      "the first start",
      ({ node }) =>
        void Object.assign(node, {
          onStart: (usual: () => Promise<void>) => (node.starts < 3 ? fail("no start") : usual()),
        }),
      { isGood: true },
    ],
    ["logging the stop", () => {}, { logger: failingLogger("stopped"), isGood: true }],
    ["logging the start", () => {}, { logger: failingLogger("starting"), isGood: true }],
    ["a listener", ({ at }) => at("stopped", () => fail("a listener of the caller's")), { isGood: true }],
  ])("an error in %s does not", async (_, inject, { logger, isGood = false }) => {
    const run = await prepare(logger === undefined ? {} : { logger });
    inject(run);
    const { manifest, error } = await run.backUp();
    expect(manifest !== null, error?.message).toBe(isGood);
    expect(run.node.stops).toBe(1);
    expect(run.node.isUp).toBe(true);
    expect(await run.left()).toEqual([]);
  });
});

it("mistake 2: with a separate log directory the snapshots were missing", async () => {
  const run = await prepare();
  expect(run.dataLogDir).not.toBe(run.dataDir);
  const { manifest } = await run.backUp();
  expect(manifest?.entries.map(({ path }) => path)).toEqual(
    expect.arrayContaining(["version-2/snapshot.0", "version-2/log.1"]),
  );
  const targets = { main: join(run.folder, "main"), log: join(run.folder, "log") };
  await run.series.restore("latest", targets);
  expect(await readdir(join(targets.main, "version-2"))).toEqual(["snapshot.0"]);
  expect(await readdir(join(targets.log, "version-2"))).toEqual(["log.1"]);
  expect((await checkDirectory(Object.values(targets))).recoverable?.zxid).toBe("0x22");
});

it("mistake 3: names collided, so that one backup replaced another", async () => {
  // The same moment for all: a clock that stands still is the worst there is.
  const run = await prepare({ clock: () => new Date("2026-11-01T02:30:00.000Z") });
  const ids: (string | undefined)[] = [];
  for (let backup = 0; backup < 3; backup += 1) ids.push((await run.backUp()).manifest?.id);
  expect(ids).toEqual(["000", "001", "002"].map((ms) => `zk-20261101T023000${ms}Z`));
  for (const id of ids) await run.series.verify(id ?? "");
});

it.skipIf(!requirePart(monitMissing()))(
  `mistake 4: "not monitored" was taken for stopped while the process was alive`,
  async () => {
    const folder = await temporaryFolder();
    // Ends after more time than monit gives it. monit then says "not monitored", and forgets about it.
    const slow = await slowNode(join(folder, "node"), { endsAfterSeconds: 4 });
    const { pidFile, start, stop } = slow;
    const monit = await startMonit({
      directory: join(folder, "monit"),
      services: [{ name: "zookeeper", pidFile, start, stop, stopTimeoutSeconds: 1 }],
    });
    onTestFinished(async () => {
      await monit.kill();
      await slow.kill();
    });
    const control = openNodeControl({ use: "monit", service: "zookeeper", command: monit.command }, folder);
    const { signal } = new AbortController();
    await expect.poll(async () => (await control.status({ signal })).state, { timeout: 20_000 }).toBe("running");

    const run = await prepare({ cold: { control, stopTimeoutMs: 20_000, startTimeoutMs: 20_000 } });
    const before = (await slow.livingPid()) ?? 0;
    let aliveWhenStopped = true;
    const said: string[] = [];
    run.at("stopping", () => void run.node.deafen());
    run.at("stopped", () => {
      aliveWhenStopped = isAlive(before);
      said.push(readFileSync(monit.logFile, "utf8"));
    });
    run.at("starting", () => void run.node.listen());
    expect(await run.backUp()).toMatchObject({ error: null, manifest: { verified: true } });
    expect(said.join()).toMatch(/failed to stop/);
    expect(aliveWhenStopped).toBe(false);
    await expect.poll(() => slow.livingPid(), { timeout: 10_000 }).not.toBeNull();
  },
);

it("mistake 5: a node that was always the leader was always skipped, and nobody heard of it", async () => {
  const [leader, ...followers] = await makeEnsemble(3);
  onTestFinished(async () => {
    for (const follower of followers) await follower.fall();
  });
  if (leader === undefined) throw new Error("no ensemble");
  const run = await prepare({ node: leader, cold: { lock: false, maxSkippedRuns: 2 } });
  await writeFile(join(run.dataDir, "myid"), "1\n");
  const heard: string[] = [];
  run.series.events.on("backup:skipped", ({ reason, message }) => heard.push(`${reason}: ${message}`));
  for (let nth = 1; nth <= 2; nth += 1) expect(await run.backUp()).toEqual({ manifest: null, error: null });
  expect(heard).toHaveLength(2);
  expect(heard[0]).toMatch(/^leader: .*it is the leader\. Back up a follower, or set ifLeader/);
  expect((await run.backUp()).error).toMatchObject({
    code: "ERR_STOP_REFUSED",
    message: expect.stringMatching(/in 3 runs in a row, since .*: there are no backups of this node/),
  });
  expect(leader.stops).toBe(0);
});

describe("mistake 6", () => {
  it("two runs of one node could overlap", async () => {
    const run = await prepare();
    const outcomes = await Promise.all([run.backUp(), run.backUp()]);
    expect(outcomes.filter(({ manifest }) => manifest !== null)).toHaveLength(1);
    expect(outcomes.find(({ error }) => error !== null)?.error).toMatchObject({ code: "ERR_BUSY" });
    expect({ stops: run.node.stops, isUp: run.node.isUp }).toEqual({ stops: 1, isUp: true });
    expect(await run.left()).toEqual([]);
  });

  it("an upload of more than 5 GB failed, since it was one request", async () => {
    const firstPartBytes = 8 * 1024 * 1024;
    let number = 0;
    for (let left = 6 * GIB; left > 0; left -= partSize(number, firstPartBytes)) number += 1;
    expect(number).toBeGreaterThan(1);
    expect(number).toBeLessThanOrEqual(MAX_PARTS);
    for (let part = 1; part <= MAX_PARTS; part += 1) expect(partSize(part, firstPartBytes)).toBeLessThan(5 * GIB);
    // The same rule on real bytes, with parts that are a million times smaller.
    const sizes: number[] = [];
    const body = (async function* () {
      for (let chunk = 0; chunk < 6 * 1024; chunk += 1) yield Buffer.alloc(1);
    })();
    for await (const part of splitIntoParts(body, (nth) => partSize(nth, 8))) sizes.push(part.bytes.byteLength);
    expect(sizes.length).toBeGreaterThan(1);
    expect(sizes.reduce((sum, size) => sum + size)).toBe(6 * 1024);
  });

  it("the first failure ended the daemon", async () => {
    const gone = new BackypError("ERR_SINK_UNAVAILABLE", "the store is gone");
    const run = await prepare({ sink: withFaults(memorySink(), { put: [gone] }) });
    const { node } = run;
    node.onStart = (usual) => {
      if (node.starts === 1) throw new BackypError("ERR_NODE_CONTROL", "not now");
      return usual();
    };
    expect((await run.backUp()).error?.code).toBe("ERR_SINK_UNAVAILABLE");
    node.role = "";
    expect((await run.backUp()).error?.code).toBe("ERR_STOP_REFUSED");
    node.role = "standalone";
    expect(await run.backUp()).toMatchObject({ error: null, manifest: { verified: true } });
  });
});

describe("mistake 7", () => {
  it("kill -9 was the normal stop", { timeout: 60_000 }, async () => {
    const folder = await temporaryFolder();
    const [log, pidFile, node, stop] = ["signals", "pid", "node.sh", "stop.sh"].map((name) => join(folder, name));
    // Takes note of every signal that can be caught, and ends on none.
    const traps = ["TERM", "INT", "HUP", "QUIT", "USR1", "USR2"].map(
      (name) => `trap 'echo ${name} >>${log}' ${name}\n`,
    );
    await writeFile(`${node}`, `${traps.join("")}while kill -0 ${process.pid} 2>/dev/null; do sleep 0.05; done\n`);
    await writeFile(`${stop}`, `kill -TERM $(cat ${pidFile}); while kill -0 $(cat ${pidFile}); do sleep 0.1; done\n`);
    const start = ["/bin/sh", "-c", `/bin/sh ${node} >/dev/null 2>&1 & echo $! >${pidFile}`];
    const status = ["/bin/sh", "-c", `kill -0 $(cat ${pidFile}) || exit 3`];
    const control = openNodeControl(
      { use: "command", start, stop: ["/bin/sh", `${stop}`], status, pidFile: `${pidFile}`, timeoutMs: 2_000 },
      folder,
    );
    const { signal } = new AbortController();
    await control.start({ signal });
    const pid = Number(await readFile(`${pidFile}`, "utf8"));
    onTestFinished(() => void process.kill(pid, "SIGKILL"));

    const run = await prepare({ cold: { control, stopTimeoutMs: 1_000 } });
    const { error } = await run.backUp();
    expect(error).toMatchObject({ code: "ERR_NODE_CONTROL", message: expect.stringMatching(/was left running/) });
    expect(isAlive(pid)).toBe(true);
    expect(await readFile(`${log}`, "utf8")).toBe("TERM\n");
  });

  it.skipIf(!requirePart(monitMissing()))("secrets stood on command lines and in environments", async () => {
    const folder = await temporaryFolder();
    const secrets = {
      monit: "monits-own-secret",
      s3: "the-secret-key-of-s3",
      environment: "a-secret-in-the-environment",
    };
    const slow = await slowNode(join(folder, "node"), { endsAfterSeconds: 1 });
    const { pidFile, start, stop } = slow;
    const monit = await startMonit({
      directory: join(folder, "monit"),
      services: [{ name: "zookeeper", pidFile, start, stop }],
      user: { name: "vcap", password: secrets.monit },
    });
    onTestFinished(async () => {
      await monit.kill();
      await slow.kill();
    });
    const { url, credentialsFile } = monit;
    const control = openNodeControl({ use: "monit", service: "zookeeper", url, credentialsFile }, folder);
    const { signal } = new AbortController();
    await expect.poll(async () => (await control.status({ signal })).state, { timeout: 20_000 }).toBe("running");
    const [port = 0] = await freePorts(1);
    const s3 = await createS3Sink({
      bucket: "backups",
      endpoint: `http://127.0.0.1:${port}`,
      accessKeyId: "backyp",
      secretAccessKey: secrets.s3,
    });
    // It is not there, and all that is written to it before the end is what tries it.
    const put: Sink["put"] = async (key) => ({ key, size: 0, modifiedAt: new Date() });
    const sink: Sink = { ...s3, put, async delete() {} };

    const run = await prepare({ cold: { control, stopTimeoutMs: 20_000 }, sink });
    // Where the S3 client looks for it by itself. What we start has no business with it.
    const { AWS_SECRET_ACCESS_KEY } = process.env;
    process.env.AWS_SECRET_ACCESS_KEY = secrets.environment;
    onTestFinished(() => {
      if (AWS_SECRET_ACCESS_KEY === undefined) delete process.env.AWS_SECRET_ACCESS_KEY;
      else process.env.AWS_SECRET_ACCESS_KEY = AWS_SECRET_ACCESS_KEY;
    });
    const stopIt = new AbortController();
    const seen = new Map<string, string>();
    const look = (): void => {
      for (const [pid, text] of processes()) seen.set(pid, text);
    };
    run.at("journaled", look);
    run.at("stopping", () => void run.node.deafen());
    run.at("stopped", look);
    run.at("starting", () => {
      look();
      void run.node.listen();
    });
    // Before anything is sent to a store that is not there.
    run.at("caught-up", () => {
      look();
      stopIt.abort();
    });
    expect((await run.backUp({ signal: stopIt.signal })).error).toMatchObject({ code: "ERR_ABORTED" });
    const texts = [...seen.values()];
    expect(texts.some((text) => text.includes("zk-backyp-guard") && text.includes(run.stateDir))).toBe(true);
    for (const secret of Object.values(secrets)) {
      expect(texts.filter((text) => text.includes(secret))).toEqual([]);
    }
    expect(JSON.stringify(control.startCommand)).not.toContain(secrets.monit);
  });

  it("nothing was verified", async () => {
    const run = await prepare({ fixture: "zookeeper-3.8.0-rich" });
    run.node.zxid = 0x3ean;
    await flipBit(join(run.dataDir, "version-2", "log.3e5"), 60);
    expect((await run.backUp()).error?.code).toMatch(/^ERR_SOURCE_/);
    expect(await Array.fromAsync(run.series.catalog.list())).toEqual([]);
    expect(run.node.isUp).toBe(true);
  });

  it("nothing could be restored", async () => {
    const run = await prepare({ fixture: "zookeeper-3.8.0-rich" });
    run.node.zxid = 0x3ean;
    const { manifest } = await run.backUp();
    const main = join(run.folder, "restored");
    await run.series.restore(manifest?.id ?? "", { main });
    const [before, after] = await Promise.all([checkDirectory([run.dataDir]), checkDirectory([main])]);
    expect(after.recoverable).toEqual(before.recoverable);
    expect(after.recoverable?.zxid).toBe("0x3ea");
  });
});

/** Of every process that can be looked at, but this one: its arguments and its environment. */
function processes(): [string, string][] {
  return readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name) && Number(name) !== process.pid)
    .map((pid) => {
      try {
        return [pid, readFileSync(`/proc/${pid}/cmdline`, "utf8") + readFileSync(`/proc/${pid}/environ`, "utf8")];
      } catch {
        return [pid, ""];
      }
    });
}
