import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { cp, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  cephRgwMissing,
  connectZooKeeper,
  monitMissing,
  requirePart,
  startCephRgw,
  startMonit,
  writeSampleData,
  zooKeeperMissing,
} from "@zk-backyp/testbed";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type ControlledServer, startControlledServer } from "../../../apps/daemon/test/controlled-server.ts";
import { bundle } from "../tools/bundle.ts";

interface Result {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** The command as the package installs it: no `node_modules` in any folder above, nothing in the environment. */
let installed: string;
let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "zk-backyp-bundle-"));
  await bundle(join(folder, "made"));
  installed = join(folder, "installed");
  await cp(join(folder, "made"), installed, { recursive: true });
  await rm(join(folder, "made"), { recursive: true });
});
afterAll(() => rm(folder, { recursive: true, force: true }));

function start(args: readonly string[], env: Readonly<Record<string, string>> = {}): ChildProcess {
  return spawn(process.execPath, [join(installed, "zk-backyp.mjs"), ...args], {
    cwd: folder,
    env: { PATH: "/usr/bin:/bin", HOME: "/nonexistent", AWS_EC2_METADATA_DISABLED: "true", ...env },
    stdio: ["ignore", "pipe", "pipe"],
  });
}

async function run(
  args: readonly string[],
  { env, onStart = () => {} }: { env?: Record<string, string>; onStart?: (child: ChildProcess) => void } = {},
): Promise<Result> {
  const child = start(args, env);
  const result = { stdout: "", stderr: "" };
  child.stdout?.on("data", (chunk) => {
    result.stdout += chunk;
  });
  child.stderr?.on("data", (chunk) => {
    result.stderr += chunk;
  });
  onStart(child);
  const [code] = await once(child, "close");
  return { code, ...result };
}

describe("the bundle", () => {
  it("says its version and every command", async () => {
    const { version } = JSON.parse(await readFile("apps/daemon/package.json", "utf8"));
    expect(await run(["--version"])).toEqual({ code: 0, stdout: `${version}\n`, stderr: "" });
    const commands = (await run(["--help"])).stdout.match(/^ {2}[a-z]+(?= )/gm)?.map((name) => name.trim());
    expect(commands).toEqual(
      expect.arrayContaining(["backup", "restore", "recover", "daemon", "helper", "hold", "init"]),
    );
  });

  it("is the same, byte for byte, when it is made again", async () => {
    const again = join(folder, "again");
    await bundle(again);
    const files = (await readdir(installed, { recursive: true, withFileTypes: true })).filter((file) => file.isFile());
    expect(files.map(({ name }) => name)).toEqual(
      expect.arrayContaining(["LICENSES.txt", "start-node.mjs", "status.html", "zk-backyp.mjs"]),
    );
    for (const { parentPath, name } of files.filter((file) => !file.name.endsWith(".map"))) {
      const path = join(parentPath, name);
      expect(await readFile(path.replace(installed, again)), name).toEqual(await readFile(path));
    }
  });

  it("names no file of the workspace that it was made in, and carries the licences of what is in it", async () => {
    expect(await readFile(join(installed, "zk-backyp.mjs"), "utf8")).not.toContain(process.cwd());
    const licences = await readFile(join(installed, "LICENSES.txt"), "utf8");
    for (const name of ["commander", "fastify", "zod", "pino"]) {
      expect(licences).toMatch(
        new RegExp(`^${name} \\d+\\.\\d+\\.\\d+ \\(MIT\\)\\n\\n[\\s\\S]*Permission is hereby`, "m"),
      );
    }
  });

  it("refuses a plugin that is not there, and an unknown command", async () => {
    expect(await run(["list", "--from", "ftp://somewhere/backups"])).toMatchObject({
      code: expect.toSatisfy((code) => code !== 0),
      stderr: expect.stringMatching(/^error /),
    });
    expect(await run(["no-such-command"])).toMatchObject({ code: 2, stderr: expect.stringMatching(/^error/) });
  });
});

describe.skipIf(!requirePart(zooKeeperMissing()))("the bundle beside a real server", () => {
  let node: ControlledServer;
  let flags: string[];
  beforeAll(async () => {
    node = await startControlledServer(join(folder, "server"));
    const client = await connectZooKeeper(node.server.connectString);
    await writeSampleData(client);
    await client.close();
    flags = ["--data-dir", node.server.dataDir, "--server", node.server.connectString];
  });
  afterAll(() => node?.end());

  const source = (more: object = {}): object => ({
    use: "zookeeper",
    dataDir: node.server.dataDir,
    server: node.server.connectString,
    ...more,
  });

  async function configure(name: string, config: object): Promise<string> {
    const path = join(folder, name);
    await writeFile(path, JSON.stringify(config));
    return path;
  }

  async function expectRoundTrip(store: string, env: Record<string, string> = {}): Promise<void> {
    const backup = await run(["backup", ...flags, "--to", store, "--json"], { env });
    expect(backup).toMatchObject({ code: 0, stderr: "" });
    const { id } = JSON.parse(backup.stdout);
    expect((await run(["list", "--from", store], { env })).stdout).toContain(id);
    expect(await run(["verify", id, "--from", store], { env })).toMatchObject({ code: 0, stderr: "" });
    const restored = await mkdtemp(join(folder, "restored-"));
    expect(await run(["restore", id, "--from", store, "--to", restored], { env })).toMatchObject({ code: 0 });
    const inspected = await run(["inspect", restored, "--json"]);
    expect(inspected).toMatchObject({ code: 0 });
  }

  it("backs up to a directory, lists, verifies and restores", () => expectRoundTrip(join(folder, "backups")));

  it.skipIf(!requirePart(cephRgwMissing()))("does the same with S3", async () => {
    const s3 = await startCephRgw({ directory: join(folder, "rgw") });
    try {
      await s3.createBucket("backups");
      await expectRoundTrip(`s3://backups/bundle?endpoint=${s3.endpoint}&region=us-east-1&pathStyle=true`, {
        AWS_ACCESS_KEY_ID: s3.accessKeyId,
        AWS_SECRET_ACCESS_KEY: s3.secretAccessKey,
      });
    } finally {
      await s3.stop();
    }
  });

  it("runs as a daemon that backs up, answers over HTTP, and shows its page", async () => {
    const config = await configure("daemon.json", {
      http: { port: 0 },
      series: { zk: { source: source(), sink: { use: "fs", path: "daemon-backups" }, schedule: { interval: 3600 } } },
    });
    const child = start(["daemon", "--config", config]);
    const ended = once(child, "close");
    try {
      let log = "";
      for (const stream of [child.stdout, child.stderr]) {
        stream?.on("data", (chunk) => {
          log += chunk;
        });
      }
      const url = (): string => /"event":"http.listens".*?"url":"([^"]+)"/.exec(log)?.[1] ?? log;
      await expect.poll(url, { timeout: 30_000 }).toMatch(/^http:/);
      const page = await fetch(url());
      expect(page.status).toBe(200);
      expect(await page.text()).toMatch(/<style>[\s\S]+<script type="module">[\s\S]+<\/script>/);
      const series = async (): Promise<unknown> => (await fetch(new URL("/api/v1/series/zk/backups", url()))).json();
      await expect.poll(series, { timeout: 60_000 }).toMatchObject({ items: [{ id: expect.any(String) }] });
    } finally {
      child.kill("SIGTERM");
    }
    expect(await ended).toEqual([0, null]);
  });

  it("stops and starts the server for a cold backup through its helper", async () => {
    const socket = join(folder, "helper.sock");
    const config = await configure("helper.json", {
      helper: { socket, control: node.control, stateDir: join(folder, "helper-state") },
    });
    const before = await node.pid();
    let done: Promise<Result> | undefined;
    const helper = await run(["helper", "--config", config], {
      onStart(child) {
        child.stderr?.on("data", (chunk) => {
          if (!/is ready/.test(String(chunk))) return;
          const cold = ["--mode", "cold", "--allow-standalone", "--control", `helper:${socket}`];
          done = run(["backup", ...flags, ...cold, "--to", join(folder, "cold")]).finally(() => child.kill("SIGTERM"));
        });
      },
    });
    expect(await done).toMatchObject({ code: 0, stdout: expect.stringMatching(/\n +downtime +\d/) });
    expect(helper.code).toBe(0);
    expect(await node.pid()).not.toBe(before);
  });

  it.skipIf(!requirePart(monitMissing()))("has its guard start the server by monit when it is killed", async () => {
    const { start, stop, pidFile } = node.control as { start: string[]; stop: string[]; pidFile: string };
    const monit = await startMonit({
      directory: join(folder, "monit"),
      services: [{ name: "zookeeper", pidFile, start, stop }],
    });
    const stateDir = join(folder, "state");
    try {
      const control = { use: "monit", service: "zookeeper", url: monit.url, credentialsFile: monit.credentialsFile };
      const config = await configure("cold.json", {
        series: {
          zk: {
            source: source({ cold: { control, stateDir, allowStandalone: true } }),
            sink: { use: "fs", path: "guarded" },
            mode: "cold",
          },
        },
      });
      await node.set("slow-stop");
      const { code } = await run(["backup", "--config", config], {
        onStart: (child) => void node.untilStopping().then(() => child.kill("SIGKILL")),
      });
      expect(code).toBeNull();
      const guardLog = (): Promise<string> => readFile(join(stateDir, "guard.log"), "utf8").catch(() => "");
      await expect
        .poll(guardLog, { timeout: 60_000 })
        .toMatch(/is gone: starting the node[\s\S]*the start was accepted/);
      await node.untilServing();
      const recovered = await run(["recover", "--config", config]);
      expect(recovered).toMatchObject({ code: 0, stdout: expect.stringMatching(/^✔ the server /) });
    } finally {
      await node.unset("slow-stop");
      await monit.stop();
    }
  });
});
