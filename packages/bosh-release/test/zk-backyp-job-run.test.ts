import { chmod, mkdir, mkdtemp, readFile, realpath, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import {
  type CephRgw,
  cephRgwMissing,
  requirePart,
  startCephRgw,
  zooKeeperClassPath,
  zooKeeperMissing,
} from "@zk-backyp/testbed";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { Agent } from "../testing/agent.ts";
import { eventually } from "../testing/cluster.ts";
import type { Instance } from "../testing/director.ts";
import { type Properties, rubyMissing } from "../testing/render-job.ts";
import { type Ended, type Machine, machinesMissing, type Network, startNetwork } from "../testing/stemcell.ts";

const WORKSPACE = fileURLToPath(new URL("../../..", import.meta.url));
const JOB = "/var/vcap/jobs/zk-backyp";
const LOGS = "/var/vcap/sys/log/zk-backyp";
const DATA = "/var/vcap/store/zookeeper";
const TOKEN = "/var/vcap/data/zk-backyp/http-token";
const OWED = "/var/vcap/store/zk-backyp-helper/stop.json";
const BUCKET = "old-backups";
const canRun = [rubyMissing(), machinesMissing(), cephRgwMissing(), zooKeeperMissing()].every(requirePart);

// The daemon from this checkout stands in for the release's packages, and Debian's ZooKeeper, as monit's service with a
// few lines of shell, for the job zookeeper.
describe.skipIf(!canRun)(
  "the job zk-backyp on a machine with monit, ZooKeeper and a store",
  { timeout: 240_000 },
  () => {
    let folder: string;
    let store: CephRgw;
    let network: Network;
    let number = 10;
    let machines: Machine[] = [];

    beforeAll(async () => {
      folder = await mkdtemp(join(tmpdir(), "zk-backyp-job-run-"));
      await chmod(folder, 0o755);
      store = await startCephRgw({ directory: join(folder, "store") });
      await store.createBucket(BUCKET);
      network = await startNetwork(join(folder, "network"), { port: store.port });
      const node = join(folder, "packages/node-24/bin");
      await mkdir(node, { recursive: true });
      await symlink(await realpath(process.execPath), join(node, "node"));
      const program = join(folder, "packages/zk-backyp/bin/zk-backyp");
      await mkdir(dirname(program), { recursive: true });
      const main = join(WORKSPACE, "apps/daemon/dist/main.js");
      await writeFile(program, `#!/bin/bash\nexec /var/vcap/packages/node-24/bin/node '${main}' "$@"\n`, {
        mode: 0o755,
      });
    });

    afterAll(async () => {
      await network?.[Symbol.asyncDispose]();
      await store?.stop();
      await rm(folder, { recursive: true, force: true });
    });

    afterEach(async () => {
      await Promise.all(machines.map((machine) => machine[Symbol.asyncDispose]()));
      machines = [];
    });

    /** A machine with ZooKeeper alone on it, that serves, and the job, not started. */
    async function machineWith(properties: Properties): Promise<{ machine: Machine; agent: Agent }> {
      number += 1;
      const machine = await network.machine({
        name: `zookeeper-${number}`,
        number,
        packages: join(folder, "packages"),
        sees: [
          WORKSPACE,
          dirname(await realpath(process.execPath)),
          "/usr/lib/jvm",
          "/usr/share/java",
          "/etc/java-17-openjdk",
        ],
      });
      machines.push(machine);
      const agent = new Agent(machine);
      await agent.apply(instance(properties));
      const job = join(machine.vcap, "jobs/zookeeper");
      await mkdir(join(job, "config"), { recursive: true });
      await writeFile(
        join(job, "config/zoo.cfg"),
        `tickTime=1000\ndataDir=${DATA}\nclientPort=2181\nadmin.enableServer=false\n`,
      );
      await writeFile(join(job, "zookeeper_ctl"), ZOOKEEPER_CTL, { mode: 0o755 });
      await writeFile(join(machine.vcap, "monit/job/9999_zookeeper.monitrc"), ZOOKEEPER_MONIT, { mode: 0o600 });
      await machine.run(["install", "-d", "-o", "vcap", "-g", "vcap", DATA]);
      await machine.run(["/var/vcap/bosh/bin/monit", "reload"]);
      await eventually("monit to know ZooKeeper", async () => (await isKnown(agent, "zookeeper")) || null);
      return { machine, agent };
    }

    function instance(properties: Properties): Instance {
      const spec = {
        name: "zookeeper",
        deployment: "zk",
        id: "6f1a4f5e-0000-4000-8000-000000000000",
        index: 0,
        az: "z1",
        bootstrap: true,
        address: "127.0.0.1",
        ip: "127.0.0.1",
        networks: { default: { ip: "127.0.0.1" } },
        persistent_disk: 1024,
        release: { name: "zookeeper-hybris", version: "1" },
      };
      const { name, index, id, az, bootstrap, ip } = spec;
      const job = { name: "zk-backyp", context: { spec, properties } };
      return { group: name, index, id, az, bootstrap, ip, isErrand: false, jobs: [job] };
    }

    /** The properties of an old manifest, and what a ZooKeeper alone needs. */
    function legacy(prefix: string): Properties {
      return {
        zk_backyp: {
          prefix,
          interval: 3600,
          s3_bucket: BUCKET,
          s3_endpoint: `http://${network.gateway}:${store.port}`,
          aws_access_key: store.accessKeyId,
          aws_secret_key: store.secretAccessKey,
        },
        backup: { allow_standalone: true, pause_after_deploy: 0 },
      };
    }

    const archivesOf = async (prefix: string): Promise<string[]> =>
      (await store.objects(BUCKET)).filter((key) => key.startsWith(`${prefix}/archives/`));

    it("backs up as old manifests ask for it, and is operated by its command", async () => {
      const { machine, agent } = await machineWith(legacy("zk-legacy"));
      await agent.start();

      const [archive = ""] = await eventually("an archive", async () => nonEmpty(await archivesOf("zk-legacy")));
      expect(archive).toMatch(/^zk-legacy\/archives\/zk-legacy-\d{8}T\d{9}Z\.tar\.gz$/);
      await eventually("the run's end", async () => nonEmpty(await lines(machine, "run.end")));
      const [end] = await lines(machine, "run.end");
      expect(end).toMatchObject({ outcome: "ok", series: "zookeeper" });
      expect((await agent.services()).map(({ name, isRunning }) => [name, isRunning]).sort()).toEqual([
        ["zk-backyp", true],
        ["zk-backyp-helper", true],
        ["zookeeper", true],
      ]);
      expect(await serves(machine)).toBe(true);

      // Who runs as whom, and who may read what.
      expect(await userAndNiceness(machine, "zk-backyp")).toEqual(["vcap", "10"]);
      expect(await userAndNiceness(machine, "helper")).toEqual(["root", "0"]);
      expect(await modes(machine, [TOKEN, `${JOB}/config/zk-backyp.json`, LOGS])).toEqual([
        "640 root vcap",
        "640 root vcap",
        "750 root vcap",
      ]);
      const { stdout: commandLine } = await machine.run(["ps", "-e", "-o", "args"]);
      expect(commandLine).not.toContain(store.secretAccessKey);

      const list = await command(machine, "list", "--json");
      expect(list.code).toBe(0);
      const [{ id }] = JSON.parse(list.stdout).items ?? JSON.parse(list.stdout);
      expect(archive).toContain(id);
      const verified = await command(machine, "verify", "latest");
      expect(verified.stdout + verified.stderr).toContain("every byte read back");
      expect((await command(machine, "restore", "latest", "--to", "/var/vcap/data/zk-backyp/tmp/restored")).code).toBe(
        0,
      );
      expect((await command(machine, "inspect", "/var/vcap/data/zk-backyp/tmp/restored")).code).toBe(0);
      expect((await command(machine, "cat", DATA, "/zookeeper/quota", "--stat")).code).toBe(0);
      expect((await command(machine, "diff", DATA, DATA)).stdout).toBe("no difference\n");
      expect((await command(machine, "diff", "latest", DATA, "/zookeeper")).stdout).toBe("no difference\n");
      expect((await command(machine, "hold")).stdout).toMatch(/^held until /);
      expect((await command(machine, "release")).stdout).toBe("released\n");
      // A place of its own, of which the configuration knows nothing.
      expect((await command(machine, "list", "--from", "/var/vcap/data")).stderr).not.toContain("ERR_CONFIG_INVALID");
    });

    it("keeps its token, and is quiet and quick when it is stopped and started again", async () => {
      const { machine, agent } = await machineWith(legacy("zk-token"));
      await agent.start();
      await eventually("an archive", async () => nonEmpty(await archivesOf("zk-token")));
      const { stdout: token } = await machine.run(["cat", TOKEN]);
      expect(token).toMatch(/^[A-Za-z0-9+/]{43}=$/);

      expect((await machine.run([`${JOB}/bin/pre-stop`])).stderr).not.toContain("WARNING");
      expect((await machine.run([`${JOB}/bin/drain`])).stdout).toBe("0\n");
      await agent.monitStop();
      expect((await machine.run(["pgrep", "-f", "dist/main.js"])).stdout).toBe("");

      await agent.start();
      expect((await machine.run(["cat", TOKEN])).stdout).toBe(token);
      // Started once more it is the same one.
      const pid = await pidOf(machine, "zk-backyp");
      expect((await machine.run([`${JOB}/bin/zk-backyp_ctl`, "start"])).code).toBe(0);
      expect(await pidOf(machine, "zk-backyp")).toBe(pid);
      // So it is where its pid file was lost.
      await machine.run(["rm", "-f", "/var/vcap/sys/run/zk-backyp/zk-backyp.pid"]);
      expect((await machine.run([`${JOB}/bin/zk-backyp_ctl`, "start"])).code).toBe(0);
      expect(await pidOf(machine, "zk-backyp")).toBe(pid);
      await machine.run(["sh", "-c", "rm -f /var/vcap/sys/run/zk-backyp/*.pid"]);
      for (const ctl of ["zk-backyp_ctl", "helper_ctl"]) {
        expect((await machine.run([`${JOB}/bin/${ctl}`, "stop"])).code).toBe(0);
      }
      expect((await machine.run(["pgrep", "-f", "dist/main.js"])).stdout).toBe("");
      // It was made up for nothing: there is a backup that is fresh.
      expect(await archivesOf("zk-token")).toHaveLength(1);
    });

    it.each(["stopping", "stopped"])(
      "gives ZooKeeper back before the agent stops all, in the middle of a backup: %s",
      async (step) => {
        const prefix = `zk-${step}`;
        const { machine, agent } = await machineWith(legacy(prefix));
        // While it stops, or so long to start that a backup waits for it.
        await machine.run(["sh", "-c", `echo 4 > /var/vcap/store/slow-${step === "stopping" ? "stop" : "start"}`]);
        await agent.start();
        await eventually("the stop to begin", async () => (await exists(machine, OWED)) || null);
        if (step === "stopped")
          await eventually("ZooKeeper to be down", async () => ((await serves(machine)) ? null : true));

        const preStop = await machine.run([`${JOB}/bin/pre-stop`]);
        expect(preStop.code).toBe(0);
        expect(preStop.stderr).not.toContain("WARNING");
        expect(await exists(machine, OWED)).toBe(false);
        await eventually("ZooKeeper to serve", async () => (await serves(machine)) || null, 20_000);
        const drain = await machine.run([`${JOB}/bin/drain`, "job_shutdown", "hash_unchanged"]);
        expect(drain).toMatchObject({ code: 0, stdout: "0\n", stderr: "" });

        // Nothing begins any more, and all of it can be stopped.
        expect((await command(machine, "hold")).stdout).toMatch(/^held until /);
        expect(await archivesOf(prefix)).toEqual([]);
        await agent.monitStop();
        expect(await serves(machine)).toBe(false);
        expect((await machine.run(["pgrep", "-f", "dist/main.js"])).stdout).toBe("");

        await machine.run(["rm", "-f", "/var/vcap/store/slow-stop", "/var/vcap/store/slow-start"]);
        await agent.start();
        await eventually("the backup that was missed", async () => nonEmpty(await archivesOf(prefix)));
      },
    );

    it("ends in time where no hook has run before the stop, and ZooKeeper stays stopped", async () => {
      const { machine, agent } = await machineWith(legacy("zk-skipped"));
      await machine.run(["sh", "-c", "echo 4 > /var/vcap/store/slow-start"]);
      await agent.start();
      await eventually("ZooKeeper to be down", async () =>
        (await exists(machine, OWED)) && !(await serves(machine)) ? true : null,
      );
      await agent.monitStop();
      await eventually("all processes to end", async () => {
        const { code } = await machine.run(["pgrep", "-f", "dist/main.js|QuorumPeerMain|slow-start"]);
        return code === 0 ? null : true;
      });
      expect(await serves(machine)).toBe(false);
      await agent.start();
      await eventually("the debt to be paid", async () => ((await exists(machine, OWED)) ? null : true));
      expect(await serves(machine)).toBe(true);
    });

    it("uses the keys of the VM's profile where it has none of its own", async () => {
      const { machine, agent } = await machineWith({
        s3: {
          bucket: BUCKET,
          endpoint: `http://${network.gateway}:${store.port}`,
          credentials_source: "env_or_profile",
        },
        backup: { prefix: "zk-profile", mode: "hot" },
      });
      await machine.run(["ip", "address", "add", "169.254.169.254/32", "dev", "lo"]);
      const { accessKeyId, secretAccessKey } = store;
      const service = machine.run([
        "/var/vcap/packages/node-24/bin/node",
        "-e",
        METADATA_SERVICE,
        accessKeyId,
        secretAccessKey,
      ]);
      await agent.start();
      await eventually("an archive", async () => nonEmpty(await archivesOf("zk-profile")));
      expect(
        (await machine.run(["grep", "-r", secretAccessKey, "/var/vcap/data/jobs", "/var/vcap/store"])).stdout,
      ).toBe("");
      await machine.powerOff();
      await service;
    });

    it("gives an upload up that hangs, and lets the instance be stopped", async () => {
      const { machine, agent } = await machineWith(legacy("zk-hangs"));
      await machine.run(["sh", "-c", "echo 3 > /var/vcap/store/slow-stop"]);
      await agent.start();
      await eventually("the stop to begin", async () => (await exists(machine, OWED)) || null);
      network.stallService(true);
      try {
        await eventually("ZooKeeper to be back", async () =>
          !(await exists(machine, OWED)) && (await serves(machine)) ? true : null,
        );
        expect((await machine.run([`${JOB}/bin/pre-stop`])).stderr).not.toContain("WARNING");
        await agent.monitStop();
      } finally {
        network.stallService(false);
      }
      expect(await archivesOf("zk-hangs")).toEqual([]);
    });

    it("comes up where the store is down, and a deploy does not fail for it", async () => {
      const properties = legacy("zk-no-store");
      const { machine, agent } = await machineWith({
        ...properties,
        zk_backyp: { ...(properties.zk_backyp as object), s3_endpoint: `http://${network.gateway}:9` },
      });
      await agent.start();
      expect((await machine.run([`${JOB}/bin/post-start`])).code).toBe(0);
      expect(await serves(machine)).toBe(true);
    });

    it("lets a deploy fail with what the daemon says where that cannot start", async () => {
      const properties = legacy("zk-wrong");
      const { machine, agent } = await machineWith({ ...properties, notifications: [{ use: "webhook", url: "none" }] });
      await machine.run([`${JOB}/bin/pre-start`]);
      await agent.monitStart();
      const { code, stderr } = await machine.run([`${JOB}/bin/post-start`]);
      expect(code).toBe(1);
      expect(stderr).toContain("notifications[0].url: is no http:// or https:// address");
      expect(stderr).not.toContain(store.secretAccessKey);
    });

    it("brings ZooKeeper back after the machine has lost its power while it was stopped", async () => {
      const { machine, agent } = await machineWith(legacy("zk-power"));
      await machine.run(["sh", "-c", "echo 5 > /var/vcap/store/slow-start"]);
      await agent.start();
      await eventually("ZooKeeper to be down", async () =>
        (await exists(machine, OWED)) && !(await serves(machine)) ? true : null,
      );
      await machine.powerOff();
      await machine.run(["rm", "-f", "/var/vcap/store/slow-start"]).catch(() => {});
      await machine.boot();

      await eventually("ZooKeeper to serve", async () => (await serves(machine)) || null, 90_000);
      await eventually("the debt to be paid", async () => ((await exists(machine, OWED)) ? null : true), 60_000);
      await eventually("a backup all the same", async () => nonEmpty(await archivesOf("zk-power")), 90_000);
    });

    it("is not held for ever where a stop was prepared and never came", async () => {
      const { machine, agent } = await machineWith(legacy("zk-held"));
      await agent.start();
      await machine.run([`${JOB}/bin/pre-stop`]);
      const { stdout } = await machine.run(["curl", "--silent", "http://127.0.0.1:9642/api/v1/status"]);
      const { state, hold } = JSON.parse(stdout);
      expect(state).toBe("held");
      const seconds = (Date.parse(hold.until) - Date.parse(hold.since)) / 1000;
      expect(seconds).toBeGreaterThan(3500);
      expect(seconds).toBeLessThan(3700);
    });

    it("needs no helper for hot backups", async () => {
      const { machine, agent } = await machineWith({ ...legacy("zk-hot"), backup: { mode: "hot" } });
      await agent.start();
      await eventually("an archive", async () => nonEmpty(await archivesOf("zk-hot")));
      expect((await agent.services()).map(({ name }) => name).sort()).toEqual(["zk-backyp", "zookeeper"]);
      expect(await exists(machine, "/var/vcap/sys/run/zk-backyp/helper.sock")).toBe(false);
    });
  },
);

const ZOOKEEPER_MONIT = `check process zookeeper
  with pidfile /var/vcap/sys/run/zookeeper.pid
  start program "/var/vcap/jobs/zookeeper/zookeeper_ctl start" with timeout 30 seconds
  stop program "/var/vcap/jobs/zookeeper/zookeeper_ctl stop" with timeout 30 seconds
  group vcap
`;

const ZOOKEEPER_CTL = `#!/bin/bash
pidfile=/var/vcap/sys/run/zookeeper.pid
case $1 in
start)
  sleep "$(cat /var/vcap/store/slow-start 2>/dev/null || echo 0)"
  start-stop-daemon --start --background --no-close --make-pidfile --pidfile $pidfile --chuid vcap:vcap \\
    --startas /usr/bin/java -- -Xmx128m -cp '${canRun ? zooKeeperClassPath() : ""}' \\
    org.apache.zookeeper.server.quorum.QuorumPeerMain /var/vcap/jobs/zookeeper/config/zoo.cfg \\
    </dev/null >>/var/vcap/sys/log/zookeeper.log 2>&1
  ;;
stop)
  sleep "$(cat /var/vcap/store/slow-stop 2>/dev/null || echo 0)"
  start-stop-daemon --stop --oknodo --retry TERM/20 --pidfile $pidfile
  rm -f $pidfile
  ;;
esac
`;

/** As EC2's, version 2, with keys for one role. */
const METADATA_SERVICE = `
const [accessKeyId, secretAccessKey] = process.argv.slice(1);
const credentials = { Code: "Success", Type: "AWS-HMAC", AccessKeyId: accessKeyId, SecretAccessKey: secretAccessKey,
  Token: "", Expiration: new Date(Date.now() + 3600000).toISOString(), LastUpdated: new Date().toISOString() };
const base = "/latest/meta-data/iam/security-credentials/";
require("node:http").createServer((request, response) => {
  const { method, url, headers } = request;
  if (method === "PUT" && url === "/latest/api/token") return response.end("a-session");
  if (headers["x-aws-ec2-metadata-token"] !== "a-session") return response.writeHead(401).end();
  if (url === base) return response.end("zk-backyp");
  if (url === base + "zk-backyp") return response.end(JSON.stringify(credentials));
  response.writeHead(404).end();
}).listen(80, "169.254.169.254");
`;

const command = (machine: Machine, ...args: readonly string[]): Promise<Ended> =>
  machine.run([`${JOB}/bin/zk-backyp`, ...args]);

const nonEmpty = <T>(items: readonly T[]): readonly T[] | null => (items.length === 0 ? null : items);

async function isKnown(agent: Agent, service: string): Promise<boolean> {
  const services = await agent.services().catch(() => []);
  return services.some(({ name }) => name === service);
}

async function exists(machine: Machine, path: string): Promise<boolean> {
  return (await machine.run(["test", "-e", path])).code === 0;
}

async function serves(machine: Machine): Promise<boolean> {
  const ask = "exec 3<>/dev/tcp/127.0.0.1/2181 && printf srvr >&3 && cat <&3";
  return /^Mode: /m.test((await machine.run(["timeout", "5", "bash", "-c", ask])).stdout);
}

async function pidOf(machine: Machine, name: string): Promise<string> {
  return (await machine.run(["cat", `/var/vcap/sys/run/zk-backyp/${name}.pid`])).stdout.trim();
}

async function userAndNiceness(machine: Machine, name: string): Promise<string[]> {
  const { stdout } = await machine.run(["ps", "-o", "user=,ni=", "-p", await pidOf(machine, name)]);
  return stdout.trim().split(/\s+/);
}

async function modes(machine: Machine, paths: readonly string[]): Promise<string[]> {
  return (await machine.run(["stat", "--dereference", "--format=%a %U %G", ...paths])).stdout.trim().split("\n");
}

/** Lines of the daemon's log about one kind of event. */
async function lines(machine: Machine, event: string): Promise<readonly Record<string, unknown>[]> {
  const log = await readFile(join(machine.vcap, "data/sys/log/zk-backyp/zk-backyp.log"), "utf8").catch(() => "");
  const all = log.split("\n").filter((line) => line !== "");
  return all.map((line) => JSON.parse(line) as Record<string, unknown>).filter((line) => line.event === event);
}
