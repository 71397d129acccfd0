import { chmod, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { freePorts, type Monit, monitMissing, requirePart, startMonit } from "@zk-backyp/testbed";
import { describe, expect, it, vi } from "vitest";
import type { NodeControl } from "../src/node-control/node-control.ts";
import { type NodeControlOptions, openNodeControl } from "../src/node-control/open-node-control.ts";
import { nodeControlContract } from "../src/testing/index.ts";
import { type SlowNode, slowNode } from "./slow-node.ts";

const hasMonit = requirePart(monitMissing());
const backInMs = 600_000;

const signal = (): AbortSignal => AbortSignal.timeout(60_000);

interface Supervised extends AsyncDisposable {
  readonly folder: string;
  readonly monit: Monit;
  readonly node: SlowNode;
}

async function supervised({ endsAfterSeconds = 1, stopTimeoutSeconds = 30 } = {}): Promise<Supervised> {
  const folder = await mkdtemp(join(tmpdir(), "zk-backyp-monit-"));
  const node = await slowNode(join(folder, "node"), { endsAfterSeconds });
  const { pidFile, start, stop } = node;
  const services = [{ name: "zookeeper", pidFile, start, stop, stopTimeoutSeconds }];
  const monit = await startMonit({ directory: join(folder, "monit"), services });
  return {
    folder,
    monit,
    node,
    async [Symbol.asyncDispose]() {
      await monit.kill();
      await node.kill();
      await rm(folder, { recursive: true });
    },
  };
}

const WAYS = ["command line", "HTTP"] as const;

function control(way: (typeof WAYS)[number], monit: Monit, service = "zookeeper"): NodeControl {
  const options: NodeControlOptions =
    way === "HTTP"
      ? { use: "monit", service, url: monit.url, credentialsFile: "monit/monit.user" }
      : { use: "monit", service, command: monit.command };
  return openNodeControl(options, join(monit.credentialsFile, "../.."));
}

// Not expect.poll, which loses its test among others that run at the same time.
function eventually(check: () => Promise<void>): Promise<void> {
  return vi.waitFor(check, { timeout: 30_000, interval: 20 });
}

async function until(node: NodeControl, state: string): Promise<void> {
  await eventually(async () => expect((await node.status({ signal: signal() })).state).toBe(state));
}

for (const way of WAYS) {
  describe.skipIf(!hasMonit).concurrent(`monit, asked by ${way}`, () => {
    const cases = nodeControlContract(async () => {
      const test = await supervised();
      return {
        control: control(way, test.monit),
        stranger: control(way, test.monit, "solr"),
        livingPid: test.node.livingPid,
        dispose: async () => test[Symbol.asyncDispose](),
      };
    });
    for (const { name, run } of cases) it(name, run);

    it("does not call stopped what monit gave up to stop", async () => {
      await using test = await supervised({ endsAfterSeconds: 4, stopTimeoutSeconds: 1 });
      const { monit, node } = test;
      const zookeeper = control(way, monit);
      await until(zookeeper, "running");
      await zookeeper.stop({ signal: signal(), backInMs });
      await eventually(async () => expect(await monitSays(monit)).toContain("<monitor>0<"));
      const looked = await zookeeper.status({ signal: signal() });
      expect(await node.livingPid()).not.toBeNull();
      expect(looked.state).toBe("stopping");
      await until(zookeeper, "stopped");
      expect(await node.livingPid()).toBeNull();
    });

    it("refuses to stop what monit was told not to watch", async () => {
      await using test = await supervised();
      const { monit, node } = test;
      const zookeeper = control(way, monit);
      await until(zookeeper, "running");
      await post(monit, "unmonitor");
      await eventually(async () => expect(await monitSays(monit)).toContain("<monitor>0<"));
      const pid = await node.livingPid();
      expect(await zookeeper.status({ signal: signal() })).toEqual({ state: "running", pid });
      await expect(zookeeper.stop({ signal: signal(), backInMs })).rejects.toMatchObject({
        code: "ERR_NODE_CONTROL",
        message: expect.stringContaining("run `monit monitor zookeeper`"),
      });
      await zookeeper.start({ signal: signal() });
      await eventually(async () => expect(await monitSays(monit)).toContain("<monitor>1<"));
      await until(zookeeper, "running");
      expect(await zookeeper.status({ signal: signal() })).toEqual({ state: "running", pid });
    });

    it("tells of the new process once monit has started again what had died", async () => {
      await using test = await supervised();
      const { monit, node } = test;
      const zookeeper = control(way, monit);
      await until(zookeeper, "running");
      const before = await node.livingPid();
      await node.kill();
      await eventually(async () => {
        const { state, pid } = await zookeeper.status({ signal: signal() });
        expect(state).toBe("running");
        expect(pid).not.toBe(before);
      });
      expect((await zookeeper.status({ signal: signal() })).pid).toBe(await node.livingPid());
    });

    it("keeps a stop over a new start of monit, and starts after it", async () => {
      await using test = await supervised();
      const { monit, node } = test;
      const zookeeper = control(way, monit);
      await until(zookeeper, "running");
      await zookeeper.stop({ signal: signal(), backInMs });
      await until(zookeeper, "stopped");
      // monit notes what it was asked for at the end of a cycle.
      await sleep(1500);
      await monit.restart();
      expect((await zookeeper.status({ signal: signal() })).state).toBe("stopped");
      await zookeeper.start({ signal: signal() });
      await until(zookeeper, "running");
      expect(await node.livingPid()).not.toBeNull();
    });

    it("brings the node back over a reload of monit, when it is asked again", async () => {
      await using test = await supervised();
      const { monit, node } = test;
      const zookeeper = control(way, monit);
      await until(zookeeper, "running");
      await zookeeper.stop({ signal: signal(), backInMs });
      await until(zookeeper, "stopped");
      // While monit reads its files again it may refuse to answer, or accept and forget.
      await eventually(async () => {
        monit.reload();
        await zookeeper.start({ signal: signal() });
        await sleep(1500);
        expect((await zookeeper.status({ signal: signal() })).state).toBe("running");
        expect(await node.livingPid()).not.toBeNull();
      });
    });

    it("refuses to stop without a daemon, and says what is missing", async () => {
      await using test = await supervised();
      const { monit, node } = test;
      const zookeeper = control(way, monit);
      await until(zookeeper, "running");
      await monit.stop();
      await expect(zookeeper.stop({ signal: signal(), backInMs })).rejects.toMatchObject({
        code: "ERR_NODE_CONTROL",
        message: expect.stringMatching(/daemon does not run|cannot be asked.*does it run/),
      });
      await expect(zookeeper.status({ signal: signal() })).rejects.toMatchObject({ code: "ERR_NODE_CONTROL" });
      expect(await node.livingPid()).not.toBeNull();
    });

    it("names the services that there are where the one it looks for is not", async () => {
      await using test = await supervised();
      const { monit } = test;
      await expect(control(way, monit, "solr").status({ signal: signal() })).rejects.toThrow(
        /no service solr \(it has zookeeper\): correct the option service/,
      );
    });
  });
}

describe.skipIf(!hasMonit).concurrent("monit over HTTP", () => {
  it.each([
    ["without a user", undefined, /asks for a user and a password: name a credentialsFile/],
    ["with a wrong password", "vcap:wrong", /does not let in the user of/],
    ["with a file that holds something else", "vcap", /does not begin with a line user:password/],
  ])("does not get in %s", async (_, credentials, message) => {
    await using test = await supervised();
    const { monit } = test;
    if (credentials !== undefined) await writeFile(join(test.folder, "user"), credentials);
    const credentialsFile = credentials === undefined ? {} : { credentialsFile: "user" };
    const zookeeper = openNodeControl(
      { use: "monit", service: "zookeeper", url: monit.url, ...credentialsFile },
      test.folder,
    );
    const failure = await zookeeper.status({ signal: signal() }).catch((error: Error) => error);
    expect(failure).toMatchObject({ code: "ERR_NODE_CONTROL", message: expect.stringMatching(message) });
    expect(String(failure)).not.toContain("wrong");
  });

  it("has no password in the command that starts the node", async () => {
    await using test = await supervised();
    const { monit } = test;
    expect(JSON.stringify(control("HTTP", monit).startCommand)).not.toContain(monit.user.password);
  });
});

describe.skipIf(!hasMonit).concurrent("monit's command line", () => {
  it("starts the node also without a daemon", async () => {
    await using test = await supervised();
    const { monit, node } = test;
    const zookeeper = control("command line", monit);
    await until(zookeeper, "running");
    await zookeeper.stop({ signal: signal(), backInMs });
    await until(zookeeper, "stopped");
    await monit.kill();
    const command = zookeeper.startCommand ?? [];
    await writeFile(join(test.folder, "start"), `#!/bin/sh\nexec ${command.join(" ")}\n`);
    await chmod(join(test.folder, "start"), 0o755);
    const again = openNodeControl(
      { use: "command", start: ["./start"], stop: ["false"], status: [...node.status] },
      test.folder,
    );
    await again.start({ signal: signal() });
    await eventually(async () => expect(await node.livingPid()).not.toBeNull());
  });

  it("says that nothing answers where no monit ever was", async () => {
    const [port] = await freePorts(1);
    const zookeeper = openNodeControl({ use: "monit", service: "zookeeper", url: `http://127.0.0.1:${port}` }, "/");
    await expect(zookeeper.start({ signal: signal() })).rejects.toMatchObject({ code: "ERR_NODE_CONTROL" });
  });
});

function headers(monit: Monit): Record<string, string> {
  const authorization = `Basic ${Buffer.from(`${monit.user.name}:${monit.user.password}`).toString("base64")}`;
  return { authorization, cookie: "securitytoken=x" };
}

async function monitSays(monit: Monit): Promise<string> {
  const response = await fetch(`${monit.url}/_status2?format=xml`, { headers: headers(monit) });
  return /<service name="zookeeper">.*?<\/service>/s.exec(await response.text())?.[0] ?? "";
}

async function post(monit: Monit, action: string): Promise<void> {
  const body = new URLSearchParams({ action, securitytoken: "x" }).toString();
  await fetch(`${monit.url}/zookeeper`, { method: "POST", headers: headers(monit), body, redirect: "manual" });
}
