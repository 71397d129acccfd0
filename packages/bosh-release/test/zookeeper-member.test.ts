import { spawn, spawnSync } from "node:child_process";
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { requirePart } from "@zk-backyp/testbed";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { shellcheck, shellcheckMissing } from "../testing/shellcheck.ts";

const SOURCE = fileURLToPath(new URL("../src/zookeeper-member/member.sh", import.meta.url));
const WRAPPER = fileURLToPath(new URL("../src/zk-backyp/bin/zk-backyp", import.meta.url));
const hasShellcheck = requirePart(shellcheckMissing());
const isLinux = requirePart(process.platform === "linux" ? null : "Linux, for /proc");

let folder: string;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "zookeeper-member-"));
  for (const path of [
    "jobs/zookeeper/config",
    "jobs/zookeeper/bin",
    "sys/run/zookeeper",
    "bosh/bin",
    "monit",
    "packages/node-24/bin",
    "jobs/zk-backyp/bin",
    "data/zk-backyp",
    "store/zk-backyp-helper",
    "sys/run/zk-backyp",
  ]) {
    mkdirSync(join(folder, path), { recursive: true });
  }
  writeFileSync(join(folder, "member.sh"), readFileSync(SOURCE, "utf8").replaceAll("/var/vcap", folder));
  program("packages/node-24/bin/node", `exec '${process.execPath}' "$@"`);
  zooCfg("dataDir=/data", "clientPort=1");
  writeFileSync(join(folder, "jobs/zookeeper/config/myid"), "1\n");
});

afterEach(() => rmSync(folder, { recursive: true, force: true }));

function program(path: string, text: string): void {
  writeFileSync(join(folder, path), `#!/bin/bash\n${text}\n`);
  chmodSync(join(folder, path), 0o755);
}

const zooCfg = (...lines: string[]): void =>
  writeFileSync(join(folder, "jobs/zookeeper/config/zoo.cfg"), `${lines.join("\n")}\n`);

/** Runs a script that has sourced the functions and read the configuration. */
function bash(text: string, input = ""): { code: number | null; stdout: string; stderr: string } {
  const script = `set -euo pipefail; . '${join(folder, "member.sh")}'; member_load; ${text}`;
  const { status, stdout, stderr } = spawnSync("bash", ["-c", script, "script"], { encoding: "utf8", input });
  return { code: status, stdout: stdout.trim(), stderr: stderr.trim() };
}

const monitSays = (status: string, monitoring: string): string => `The Monit daemon 5.2.5 uptime: 0m

Process 'zookeeper-exporter'
  status                            running
  monitoring status                 monitored

Process 'zookeeper'
  status                            ${status}
  monitoring status                 ${monitoring}
  data collected                    Mon Nov 23 02:27:38 2026

System 'system_vm'
  status                            running
  monitoring status                 monitored
`;

describe("what monit says of the server", () => {
  it.each([
    ["5.2.5, running", "running", "monitored", "monitored"],
    ["5.33, running", "OK", "Monitored", "monitored"],
    ["5.2.5, failing", "Does not exist", "monitored", "monitored"],
    ["5.2.5, being stopped", "not monitored - stop pending", "not monitored", "pending"],
    ["5.33, being stopped", "OK - stop pending", "Monitored", "pending"],
    ["5.2.5, being started", "not monitored - start pending", "not monitored", "pending"],
    ["5.2.5, stopped", "not monitored", "not monitored", "stopped"],
    ["5.33, stopped", "Not monitored", "Not monitored", "stopped"],
    ["5.33, not looked at yet", "Initializing", "Initializing", "monitored"],
  ])("is understood: %s", (_, status, monitoring, expected) => {
    program("bosh/bin/monit", `cat <<'END'\n${monitSays(status, monitoring)}END`);
    expect(bash("member_monit_state").stdout).toBe(expected);
  });

  it.each([
    ["it does not answer", "exit 1"],
    ["there is no daemon", "echo 'monit: error connecting to the monit daemon'"],
    ["it does not know the server", "echo \"Process 'other'\"; echo '  monitoring status   not monitored'"],
  ])("is unknown where %s", (_, text) => {
    program("bosh/bin/monit", text);
    expect(bash("member_monit_state").stdout).toBe("unknown");
  });
});

describe.skipIf(!isLinux)("a stop", () => {
  /** A monit of 5.2.5: it refuses the first request, then stops by itself what is in the pid file, and takes its time. */
  const monit = (stop: string): void =>
    program(
      "bosh/bin/monit",
      `cd '${folder}'
case $1 in
  status) cat answer ;;
  stop)
    echo stop >>requests
    if [ ! -e refused ]; then touch refused; echo 'monit: action failed -- Other action already in progress' >&2; exit 1; fi
    ${stop} ;;
esac`,
    );

  const answer = (status: string, monitoring: string): void =>
    writeFileSync(join(folder, "answer"), monitSays(status, monitoring));

  /** A process that stands for the server; returns how to end it. */
  function server(): { pid: number; end: () => void } {
    const child = spawn("sleep", ["60"], { stdio: "ignore" });
    writeFileSync(join(folder, "sys/run/zookeeper/zookeeper.pid"), `${child.pid}\n`);
    return { pid: child.pid ?? 0, end: () => child.kill("SIGKILL") };
  }

  it("is asked for until monit takes it, and has come to its end when the process is gone", () => {
    const { end } = server();
    answer("running", "monitored");
    const stopped = `cat >answer <<'END'\n${monitSays("not monitored", "not monitored")}END\n`;
    monit(`kill -KILL $(cat sys/run/zookeeper/zookeeper.pid)\n${stopped}`);
    try {
      expect(bash("member_stop 20")).toMatchObject({ code: 0, stderr: "script: stopping ZooKeeper" });
      expect(readFileSync(join(folder, "requests"), "utf8")).toBe("stop\nstop\n");
    } finally {
      end();
    }
  });

  it("is none while the process lives, although monit says so", () => {
    const { pid, end } = server();
    answer("not monitored", "not monitored");
    monit("true");
    try {
      expect(bash("member_stop 2")).toMatchObject({
        code: 1,
        stderr: expect.stringContaining(`its process ${pid} still runs (monit: stopped)`),
      });
    } finally {
      end();
    }
  });

  it("is the job's own where monit has restarted the server, and takes it for stopped", () => {
    const { end } = server();
    answer("not monitored", "not monitored");
    monit("true");
    program("jobs/zookeeper/bin/zookeeper_ctl", `kill -KILL $(cat '${folder}/sys/run/zookeeper/zookeeper.pid')`);
    try {
      expect(bash("member_stop 20").code).toBe(0);
    } finally {
      end();
    }
  });

  it("is none while somebody listens on the port", async () => {
    const listener = createServer().listen(0, "127.0.0.1");
    await new Promise((resolve) => listener.once("listening", resolve));
    const { port } = listener.address() as { port: number };
    zooCfg("dataDir=/data", `clientPort=${port}`);
    answer("not monitored", "not monitored");
    monit("true");
    try {
      expect(bash("member_stop 1")).toMatchObject({
        code: 1,
        stderr: expect.stringContaining(`somebody still listens on a port of ZooKeeper (${port})`),
      });
    } finally {
      await new Promise((resolve) => listener.close(resolve));
    }
  });

  it("is none while monit has not done with it", () => {
    answer("not monitored - stop pending", "not monitored");
    monit("true");
    expect(bash("member_stop 1")).toMatchObject({ code: 1, stderr: expect.stringContaining("(monit: pending)") });
  });

  it("is no matter of a process that has taken the number of the server", () => {
    const { pid, end } = server();
    try {
      expect(bash(`member_lives ${pid}:1`).code).toBe(1);
      expect(bash('member_lives "$(member_process)"').code).toBe(0);
    } finally {
      end();
    }
    for (const text of ["", "no number", "999999999"]) {
      writeFileSync(join(folder, "sys/run/zookeeper/zookeeper.pid"), text);
      expect(bash("member_process; echo end").stdout).toBe("end");
    }
  });
});

describe.skipIf(!isLinux)("a start", () => {
  const pidFile = (): string => join(folder, "sys/run/zookeeper/zookeeper.pid");

  it("has come to its end when monit cannot be asked, but the server runs", () => {
    program("bosh/bin/monit", "exit 1");
    writeFileSync(pidFile(), `${process.pid}\n`);
    expect(bash("member_start 1")).toMatchObject({
      code: 0,
      stderr: expect.stringContaining("runs, but monit does not answer"),
    });
    rmSync(pidFile());
    expect(bash("member_start 1")).toMatchObject({
      code: 1,
      stderr: expect.stringContaining("ZooKeeper is down: monit has not started it in time (monit: unknown)"),
    });
  });

  it("is not asked for where old and new data have changed places by half", () => {
    zooCfg(`dataDir=${folder}`, `dataLogDir=${folder}/log`);
    mkdirSync(join(folder, "log/version-2"), { recursive: true });
    writeFileSync(join(folder, "log/version-2/log.7fffffffffffffff"), "");
    program("bosh/bin/monit", `touch '${folder}/asked'`);
    expect(bash("member_start 1")).toMatchObject({ code: 1, stderr: expect.stringContaining("was cut off") });
    expect(existsSync(join(folder, "asked"))).toBe(false);
  });
});

describe("backups during a restore", () => {
  const asked = (): string => readFileSync(join(folder, "asked"), "utf8");
  const pauseUntil = (seconds: number): void =>
    writeFileSync(join(folder, "sys/run/zk-backyp/pause-until"), `${Math.floor(Date.now() / 1000) + seconds}\n`);

  /** The job with its two processes, of which monit knows as long as they are started, and a daemon that answers `hold` so. */
  function job(holdCode: number): void {
    writeFileSync(join(folder, "asked"), "");
    program("jobs/zk-backyp/bin/zk-backyp", `echo "$*" >>'${folder}/asked'; [ $1 != hold ] || exit ${holdCode}`);
    const services = ["zk-backyp", "zk-backyp-helper"];
    writeFileSync(join(folder, "jobs/zk-backyp/monit"), services.map((name) => `check process ${name}\n`).join(""));
    for (const name of services) writeFileSync(join(folder, name), "monitored");
    program(
      "bosh/bin/monit",
      `cd '${folder}'
case $1 in
  status) for name in ${services.join(" ")}; do printf "Process '%s'\\n  monitoring status   %s\\n" $name "$(cat $name)"; done ;;
  stop) echo "$*" >>asked; echo 'not monitored' >$2 ;;
  start) echo "$*" >>asked; echo monitored >$2 ;;
esac`,
    );
  }

  it("are held by the daemon, and let go", () => {
    job(0);
    expect(bash("member_hold_for_restore && member_release").code).toBe(0);
    expect(asked()).toBe("hold --for 3600 --timeout 60 --abort\nrelease\n");
  });

  it("are ended with what they owe where the daemon cannot be held, and begin again", () => {
    job(7);
    const owed = join(folder, "store/zk-backyp-helper/stop.json");
    writeFileSync(owed, "{}");
    expect(bash("member_hold_for_restore")).toMatchObject({
      code: 0,
      stderr: expect.stringContaining("backups cannot be held off (exit code 7)"),
    });
    expect(existsSync(owed)).toBe(false);
    // Another script, which has to hold them still.
    expect(bash("member_hold_for_restore; member_release; member_release").code).toBe(0);
    expect(asked().split("\n")).toEqual([
      "hold --for 3600 --timeout 60 --abort",
      "stop zk-backyp",
      "stop zk-backyp-helper",
      "start zk-backyp",
      "start zk-backyp-helper",
      "release",
      "",
    ]);
  });

  it("which somebody had stopped before stay so", () => {
    job(1);
    writeFileSync(join(folder, "zk-backyp-helper"), "not monitored");
    expect(bash("member_hold_for_restore; member_release").code).toBe(0);
    expect(asked()).toBe("hold --for 3600 --timeout 60 --abort\nstop zk-backyp\nstart zk-backyp\n");
  });

  it("stay held where a deploy has held them", () => {
    job(0);
    pauseUntil(60);
    expect(bash("member_release")).toMatchObject({ code: 0, stderr: expect.stringContaining("a deploy was here") });
    expect(asked()).toBe("");
    pauseUntil(-1);
    bash("member_release");
    expect(asked()).toBe("release\n");
  });
});

describe("the ensemble", () => {
  const three = ["server.1=127.0.0.1:2888:1", "server.2=zk-2.bosh:2888:3888", "server.3=[::1]:2888:3888:observer;2181"];

  it("is read from zoo.cfg", () => {
    zooCfg("dataDir=/data", "dataLogDir=/log", "clientPort=2181", ...three);
    expect(
      bash('echo "$MEMBER_DATA_DIR $MEMBER_DATA_LOG_DIR $MEMBER_ID"; echo "$MEMBER_SERVERS"').stdout.split("\n"),
    ).toEqual(["/data /log 1", "1 127.0.0.1 1 participant", "2 zk-2.bosh 3888 participant", "3 ::1 3888 observer"]);
    expect(bash("member_has_peers").code).toBe(0);
    zooCfg("dataDir=/data");
    expect(bash("member_has_peers").code).toBe(1);
    expect(bash('echo "$MEMBER_DATA_LOG_DIR"').stdout).toBe("/data");
  });

  it("is known by the servers that listen for the election", async () => {
    const listener = createServer().listen(0, "127.0.0.1");
    await new Promise((resolve) => listener.once("listening", resolve));
    const { port } = listener.address() as { port: number };
    const servers = [
      `server.2=127.0.0.1:2888:${port}`,
      "server.3=127.0.0.1:2888:1",
      "server.4=no-such-host.invalid:2888:3888",
    ];
    zooCfg("dataDir=/data", "server.1=127.0.0.1:2888:1", ...servers);
    try {
      expect(bash("member_running_peers | member_names").stdout).toBe("2 (127.0.0.1)");
      // Two of four are no majority, two of three are.
      expect(bash("member_lacks_quorum").code).toBe(0);
      zooCfg("dataDir=/data", "server.1=127.0.0.1:2888:1", ...servers.slice(0, 2));
      expect(bash("member_lacks_quorum").code).toBe(1);
    } finally {
      await new Promise((resolve) => listener.close(resolve));
    }
    expect(bash("member_lacks_quorum").code).toBe(0);
  });

  it.each([
    [
      "is missing",
      () => rmSync(join(folder, "jobs/zookeeper/config/zoo.cfg")),
      "belongs on instances with the job zookeeper",
    ],
    ["names no data", () => zooCfg("clientPort=2181"), "has no dataDir"],
  ])("is refused where zoo.cfg %s", (_, change, message) => {
    change();
    expect(bash("true")).toMatchObject({ code: 1, stderr: expect.stringContaining(message) });
  });
});

describe("the proof of a restore", () => {
  const restored = { id: "zk-1", replaced: { epoch: 1_000_000, kept: [] }, contents: { state: { nodes: 6 } } };

  function prove(zxid: string, nodes: number): ReturnType<typeof bash> {
    program("jobs/zookeeper/bin/ask", `printf 'Zxid: ${zxid}\\nMode: follower\\nNode count: ${nodes}\\n'`);
    writeFileSync(join(folder, "restored.json"), JSON.stringify(restored));
    return bash(`member_prove '${join(folder, "restored.json")}' 1`);
  }

  it.each([
    ["as it was restored", "0xf4240000003e8", 7, 0, "7 znodes, as in the backup"],
    ["at the begin of the next epoch", "0xf424100000000", 7, 0, "7 znodes, as in the backup"],
    ["with more after it", "0xf424100000005", 9, 0, "zk-1 and what came after it: 9 znodes"],
    ["with other znodes", "0xf424100000000", 8, 1, "has 8 znodes at 0xf424100000000, where zk-1 has 7"],
    ["of the old history", "0x300000005", 7, 1, "serves other data than that of zk-1"],
    ["of another backup", "0xf524100000000", 7, 1, "Was another backup restored on other servers?"],
  ])("is what the server has, %s", (_, zxid, nodes, code, said) => {
    expect(prove(zxid, nodes)).toMatchObject({ code, stderr: expect.stringContaining(said) });
  });

  it("waits for a server that is busy", () => {
    const answer = "printf 'Zxid: 0xf4240000003e8\\nMode: follower\\nNode count: 7\\n'";
    const once = join(folder, "once");
    program("jobs/zookeeper/bin/ask", `if [ -e '${once}' ]; then ${answer}; else touch '${once}'; exit 1; fi`);
    writeFileSync(join(folder, "restored.json"), JSON.stringify(restored));
    expect(bash(`member_prove '${join(folder, "restored.json")}' 5`)).toMatchObject({
      code: 0,
      stderr: expect.stringContaining("7 znodes, as in the backup"),
    });
  });

  it.each([
    ["of the old history", "Zxid: 0x300000005", 0, /^2 \(zk-2\).*kept stopped.*put \/data\/version-2\.replaced-1 in/],
    ["of the restore", "Zxid: 0xf424100000000", 1, /^$/],
    ["nothing yet", "This ZooKeeper instance is not currently serving requests", 1, /^$/],
  ])("is not waited for where others serve data %s", (_, answer, code, said) => {
    zooCfg("dataDir=/data", "server.1=zk-1:2888:3888", "server.2=zk-2:2888:3888", "server.3=zk-3:2888:3888");
    program("jobs/zookeeper/bin/ask", `[ $2 = zk-2 ] && echo '${answer}'`);
    program("bosh/bin/monit", "true");
    const kept = [{ path: "/data/version-2.replaced-1" }];
    writeFileSync(
      join(folder, "restored.json"),
      JSON.stringify({ ...restored, replaced: { ...restored.replaced, kept } }),
    );
    const ended = bash(`member_stop() { echo stopped; }; member_keep_out '${join(folder, "restored.json")}' 1`);
    expect(ended).toMatchObject({ code, stdout: code === 0 ? "stopped" : "" });
    expect(ended.stderr.replace(/^.*not what was restored here: /, "")).toMatch(said);
  });

  it("is none where the server does not serve", () => {
    program("jobs/zookeeper/bin/ask", "echo 'This ZooKeeper instance is not currently serving requests'");
    writeFileSync(join(folder, "restored.json"), JSON.stringify(restored));
    expect(bash(`member_prove '${join(folder, "restored.json")}' 1`)).toMatchObject({
      code: 1,
      stderr: expect.stringContaining("does not serve: This ZooKeeper instance is not currently serving"),
    });
  });
});

it("zk-backyp trusts the authorities of the machine, whoever starts it", () => {
  program("packages/node-24/bin/node", 'echo "$NODE_EXTRA_CA_CERTS $2"');
  const authorities = join(folder, "authorities.crt");
  const text = readFileSync(WRAPPER, "utf8").replace("/etc/ssl/certs/ca-certificates.crt", authorities);
  program("wrapper", text.replaceAll("/var/vcap", folder));
  const run = (env = {}): string =>
    spawnSync(join(folder, "wrapper"), ["list"], { encoding: "utf8", env: { PATH: process.env.PATH, ...env } }).stdout;
  expect(run()).toBe(" list\n");
  writeFileSync(authorities, "");
  expect(run()).toBe(`${authorities} list\n`);
  expect(run({ NODE_EXTRA_CA_CERTS: "/mine" })).toBe("/mine list\n");
});

it.skipIf(!hasShellcheck)("the functions are good bash", () => {
  expect(shellcheck([SOURCE, WRAPPER])).toBe("");
});
