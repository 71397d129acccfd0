import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { chmod, mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { connect, createServer, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { silentLogger } from "@zk-backyp/core";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { openHelperControl } from "../src/node-control/helper.ts";
import type { NodeControl } from "../src/node-control/node-control.ts";
import { openNodeControl } from "../src/node-control/open-node-control.ts";
import { type RootHelper, type RootHelperOptions, startRootHelper } from "../src/root-helper/root-helper.ts";
import { journalIn } from "../src/stop-promise/journal.ts";
import { type DummyNode, makeDummyNode, processesOfSession } from "./dummy-node.ts";

const source = (path: string): string => JSON.stringify(fileURLToPath(new URL(`../src/${path}`, import.meta.url)));

/** A helper in a process of its own. */
const PROGRAM = `
  import { openNodeControl } from ${source("node-control/open-node-control.ts")};
  import { startRootHelper } from ${source("root-helper/root-helper.ts")};
  const [folder] = process.argv.slice(1);
  const script = folder + "/node.sh";
  const control = openNodeControl(
    { use: "command", start: [script, "start"], stop: [script, "stop"], status: [script, "status"] }, folder);
  const say = (fields, message) => console.log(message, JSON.stringify(fields));
  const helper = await startRootHelper({
    socket: folder + "/run/ctl.sock", control, stateDir: folder + "/state", maxDowntimeMs: 600_000,
    stayStoppedFile: folder + "/stay", logger: { debug: say, info: say, warn: say },
  });
  process.on("SIGTERM", () => helper.close().then(() => console.log("ended")));`;

const signal = AbortSignal.timeout(600_000);
const LONG = { signal, backInMs: 600_000 };

let folder: string;
/** A folder that everybody may write to. */
let shared: string;
let node: DummyNode;
let socketPath: string;
let control: NodeControl;
const helpers: RootHelper[] = [];
const clients: NodeControl[] = [];
const sockets: Socket[] = [];
let program: ChildProcess | undefined;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "zk-backyp-helper-"));
  socketPath = join(folder, "run", "ctl.sock");
  shared = join(folder, "shared");
  await mkdir(shared);
  await chmod(shared, 0o777);
  node = await makeDummyNode(folder);
  const { script } = node;
  control = openNodeControl(
    { use: "command", start: [script, "start"], stop: [script, "stop"], status: [script, "status"] },
    folder,
  );
});

afterEach(async () => {
  for (const socket of sockets.splice(0)) socket.destroy();
  for (const client of clients.splice(0)) await client.close();
  for (const helper of helpers.splice(0)) await helper.close();
  program?.kill("SIGKILL");
  program = undefined;
  await rm(join(folder, "state"), { recursive: true, force: true });
  const pid = await node.pid();
  if (pid !== null) process.kill(pid, "SIGKILL");
  await rm(folder, { recursive: true });
});

const options = (changes: Partial<RootHelperOptions> = {}): RootHelperOptions => ({
  socket: socketPath,
  control,
  stateDir: join(folder, "state"),
  maxDowntimeMs: 600_000,
  stayStoppedFile: join(folder, "stay"),
  logger: silentLogger,
  ...changes,
});

async function startHelper(changes: Partial<RootHelperOptions> = {}): Promise<RootHelper> {
  const helper = await startRootHelper(options(changes));
  helpers.push(helper);
  return helper;
}

function client(): NodeControl {
  const opened = openHelperControl({ socket: socketPath });
  clients.push(opened);
  return opened;
}

async function startProgram(): Promise<ChildProcess> {
  const child = spawn(process.execPath, ["--input-type=module", "-e", PROGRAM, folder], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  program = child;
  for await (const line of createInterface({ input: child.stdout })) if (line.includes("is ready")) break;
  child.stdout.resume();
  return child;
}

/** Sends bytes as they are, and returns all that comes until the helper closes. */
async function send(bytes: string | Uint8Array): Promise<string> {
  const socket = connect(socketPath);
  sockets.push(socket);
  socket.write(bytes);
  socket.on("error", () => {});
  let text = "";
  socket.on("data", (chunk) => {
    text += chunk;
  });
  await once(socket, "close");
  return text;
}

const nodeRuns = (): Promise<unknown> => expect.poll(() => node.pid(), { timeout: 15_000 }).not.toBeNull();
const isFree = (): Promise<unknown> =>
  expect.poll(() => journalIn(join(folder, "state")).read(), { timeout: 30_000 }).toBeNull();

async function stopped(by: NodeControl, backInMs = 600_000): Promise<void> {
  await by.stop({ signal, backInMs });
  expect(await by.status({ signal })).toEqual({ state: "stopped", pid: null });
  expect(await node.pid()).toBeNull();
}

describe("a root helper", () => {
  it("stops and starts the node for a client, and leaves nothing behind", async () => {
    await startHelper();
    const backup = client();
    expect(await backup.status({ signal })).toMatchObject({ state: "running" });
    await stopped(backup);
    expect(await journalIn(join(folder, "state")).read()).toMatchObject({ owner: { pid: process.pid } });
    await backup.start({ signal });
    await expect.poll(async () => (await backup.status({ signal })).state).toBe("running");
    await nodeRuns();
    await isFree();
    expect(await node.starts()).toBe(1);
    expect(await readdir(join(folder, "state"))).toEqual(["guard.log"]);
    await stopped(backup);
  });

  it("starts the node when the client's connection ends", async () => {
    await startHelper();
    const backup = client();
    await stopped(backup);
    await backup.close();
    await nodeRuns();
    await isFree();
  });

  it("starts the node when the connection ends while the stop is under way", async () => {
    await startHelper();
    await writeFile(join(folder, "slow"), "2");
    const backup = client();
    const given = new AbortController();
    const stop = backup.stop({ signal: given.signal, backInMs: 600_000 });
    await sleep(500);
    given.abort();
    await expect(stop).rejects.toMatchObject({ code: "ERR_ABORTED" });
    // The stop program goes on, and ends the node later than a start would have come.
    await isFree();
    expect(await node.pid()).not.toBeNull();
  });

  it.each([
    ["the client's deadline", 600_000, 4_000],
    ["its own", 4_000, 600_000],
  ])("starts the node at %s, although the client is there", async (_, maxDowntimeMs, backInMs) => {
    await startHelper({ maxDowntimeMs });
    await stopped(client(), backInMs);
    await nodeRuns();
    await isFree();
    expect(await node.starts()).toBe(1);
  });

  it("starts it until it runs, however often that fails", async () => {
    await startHelper();
    const backup = client();
    await stopped(backup);
    await node.spoil(2, 1);
    await backup.start({ signal });
    await nodeRuns();
    await isFree();
    expect(await node.starts()).toBe(3);
  });

  it("has one client at a time, and answers the others", async () => {
    await startHelper();
    const first = client();
    const second = client();
    await stopped(first);
    await expect(second.stop(LONG)).rejects.toMatchObject({
      code: "ERR_BUSY",
      message: expect.stringContaining("is stopped for a client since 2"),
    });
    await expect(second.start({ signal })).rejects.toMatchObject({ code: "ERR_BUSY" });
    expect(await second.status({ signal })).toMatchObject({ state: "stopped" });
    await second.close();
    expect(await node.starts()).toBe(0);
    await first.stop(LONG);
    await first.start({ signal });
    await isFree();
    await stopped(second);
  });

  it("leaves a node alone that somebody else has stopped", async () => {
    await startHelper();
    node.run("stop");
    const backup = client();
    await stopped(backup);
    await backup.close();
    await sleep(500);
    expect(await node.starts()).toBe(0);
    expect(await journalIn(join(folder, "state")).read()).toBeNull();
  });

  it("does not start a node that an operator wants to stay stopped, until that is over", async () => {
    const first = await startHelper();
    const backup = client();
    await stopped(backup);
    await writeFile(join(folder, "stay"), "");
    await expect(backup.start({ signal })).rejects.toMatchObject({ message: expect.stringMatching(/stay is there$/) });
    await backup.close();
    await expect(client().stop(LONG)).resolves.toBeUndefined();
    await first.close();
    expect(await node.starts()).toBe(0);
    await rm(join(folder, "stay"));
    await startHelper();
    await nodeRuns();
    await isFree();
  });

  it("refuses to stop a node whose supervisor cannot be asked", async () => {
    const { script } = node;
    const broken = openNodeControl(
      { use: "command", start: [script, "start"], stop: ["/bin/false"], status: [script, "status"] },
      folder,
    );
    await startHelper({ control: broken });
    await expect(client().stop(LONG)).rejects.toMatchObject({ code: "ERR_NODE_CONTROL" });
    expect(await node.pid()).not.toBeNull();
  });

  it.each([
    ["nothing", "\n"],
    ["text", "stop\n"],
    ["a list", "[]\n"],
    ["null", "null\n"],
    ["an unknown action", '{"do":"restart"}\n'],
    ["a service to stop", '{"do":"stop","backInMs":1000,"service":"sshd"}\n'],
    ["a command", '{"do":"start","command":["/bin/sh"]}\n'],
    ["no deadline", '{"do":"stop"}\n'],
    ["a deadline in the past", '{"do":"stop","backInMs":-1}\n'],
    ["a deadline that is no number", '{"do":"stop","backInMs":"1000"}\n'],
    ["an endless deadline", '{"do":"stop","backInMs":1e999}\n'],
    ["bytes that are no text", Buffer.from([0xff, 0xfe, 0x00, 0x0a])],
    ["a line without end", `{"do":"stop${"x".repeat(10_000)}`],
    ["a line that is too long", `{"do":"status","x":"${"x".repeat(5_000)}"}\n`],
    ["too much at once", "\n".repeat(1_000)],
  ])("refuses %s, closes, and goes on for others", async (_, bytes) => {
    await startHelper();
    expect(JSON.parse(await send(bytes))).toMatchObject({ ok: false, code: "ERR_NODE_CONTROL" });
    expect(await client().status({ signal })).toMatchObject({ state: "running" });
    expect(await journalIn(join(folder, "state")).read()).toBeNull();
  });

  it("neither stops nor starts a node that would have to stay stopped", async () => {
    await startHelper();
    await writeFile(join(folder, "stay"), "");
    const refused = { code: "ERR_STOP_REFUSED", message: expect.stringMatching(/stay is there/) };
    await expect(client().stop(LONG)).rejects.toMatchObject(refused);
    expect(await node.pid()).not.toBeNull();
    await expect(client().start({ signal })).rejects.toMatchObject(refused);
  });

  it("ends a connection whose client floods it with requests", async () => {
    await startHelper();
    const socket = connect(socketPath);
    sockets.push(socket);
    socket.on("error", () => {});
    socket.pause();
    const asking = setInterval(() => socket.write('{"do":"status"}\n'.repeat(8)), 1);
    try {
      await expect.poll(() => socket.destroyed || socket.errored !== null, { timeout: 60_000 }).toBe(true);
    } finally {
      clearInterval(asking);
    }
    expect(await client().status({ signal })).toMatchObject({ state: "running" });
  });

  it("answers requests that come together one after the other", async () => {
    await startHelper();
    const text = await send('{"do":"status"}\n{"do":"status"}\n{"do":"enough"}\n');
    expect(text.split("\n").map((line) => line.slice(0, 28))).toEqual([
      '{"ok":true,"state":"running"',
      '{"ok":true,"state":"running"',
      '{"ok":false,"code":"ERR_NODE',
      "",
    ]);
  });

  it("closes connections beyond the sixteenth", async () => {
    await startHelper();
    for (let count = 0; count < 16; count++) {
      const socket = connect(socketPath);
      sockets.push(socket);
      await once(socket, "connect");
    }
    await sleep(100);
    await expect(client().status({ signal })).rejects.toMatchObject({ code: "ERR_NODE_CONTROL" });
    sockets.pop()?.destroy();
    await sleep(100);
    expect(await client().status({ signal })).toMatchObject({ state: "running" });
  });

  it("makes its socket for one group, in a folder for one group", async () => {
    const gid = process.getgid?.() ?? 0;
    await startHelper({ group: String(gid) });
    const found = await stat(socketPath);
    expect([found.mode & 0o777, found.gid]).toEqual([0o660, gid]);
    const above = await stat(join(folder, "run"));
    expect([above.mode & 0o777, above.gid]).toEqual([0o750, gid]);
  });

  it("takes the place of one that died, not of one that lives", async () => {
    const dead = await startProgram();
    dead.kill("SIGKILL");
    await once(dead, "exit");
    expect((await stat(socketPath)).isSocket()).toBe(true);
    const first = await startHelper();
    await expect(startHelper()).rejects.toMatchObject({ code: "ERR_BUSY" });
    expect(await client().status({ signal })).toMatchObject({ state: "running" });
    await first.close();
    expect(await readdir(join(folder, "run"))).toEqual([]);
  });

  it("does not remove the socket of its successor", async () => {
    const first = await startHelper();
    await rm(socketPath);
    await startHelper();
    await first.close();
    expect(await client().status({ signal })).toMatchObject({ state: "running" });
  });

  it.each<[string, () => Partial<RootHelperOptions>, string]>([
    ["a path that is too long", () => ({ socket: join(folder, "x".repeat(100)) }), "ERR_CONFIG_INVALID"],
    ["a path where a file is", () => ({ socket: join(folder, "node.sh") }), "ERR_CONFIG_INVALID"],
    ["a folder that cannot be made", () => ({ socket: join(folder, "node.sh", "ctl.sock") }), "ERR_NODE_CONTROL"],
    ["a group that is not there", () => ({ group: "no such group" }), "ERR_CONFIG_INVALID"],
    [
      "a socket in a folder that others may write to",
      () => ({ socket: join(shared, "ctl.sock") }),
      "ERR_CONFIG_INVALID",
    ],
    ["a state in a folder that others may write to", () => ({ stateDir: shared }), "ERR_CONFIG_INVALID"],
    ["no downtime", () => ({ maxDowntimeMs: 0 }), "ERR_CONFIG_INVALID"],
    ["an endless downtime", () => ({ maxDowntimeMs: Number.POSITIVE_INFINITY }), "ERR_CONFIG_INVALID"],
    [
      "a control that a guard cannot start",
      () => ({ control: { ...control, startCommand: null } }),
      "ERR_CONFIG_INVALID",
    ],
  ])("is not started with %s", async (_, changes, code) => {
    await expect(startHelper(changes())).rejects.toMatchObject({ code });
  });

  it("brings the node back by its guard when it is killed, and recovers when it is started again", async () => {
    const killed = await startProgram();
    const backup = client();
    await stopped(backup);
    const journal = journalIn(join(folder, "state"));
    killed.kill("SIGKILL");
    await once(killed, "exit");
    await nodeRuns();
    expect(await journal.read()).not.toBeNull();
    // The client goes on, and finds the new one.
    const start = backup.start({ signal });
    await startHelper();
    await start;
    await expect(backup.stop(LONG)).rejects.toMatchObject({ code: "ERR_BUSY" });
    await isFree();
    await stopped(backup);
  });

  it("has the node started when it is told to end, and ends", async () => {
    const told = await startProgram();
    await stopped(client());
    const session = await journalIn(join(folder, "state")).read();
    expect(session).toMatchObject({ owner: { pid: told.pid } });
    told.kill("SIGTERM");
    const [code] = await once(told, "exit");
    expect(code).toBe(0);
    expect(await node.pid()).not.toBeNull();
    expect(await journalIn(join(folder, "state")).read()).toBeNull();
  });

  it("ends as it should when it is told to while a stop is under way", async () => {
    const helper = await startProgram();
    await writeFile(join(folder, "slow"), "2");
    const stopping = client().stop(LONG);
    stopping.catch(() => {});
    // The stop program has begun, and sleeps.
    await expect.poll(() => readdir(folder), { timeout: 20_000 }).toContain("asked");
    helper.kill("SIGTERM");
    expect(await once(helper, "exit")).toEqual([0, null]);
    await nodeRuns();
    await expect.poll(() => node.starts(), { timeout: 20_000 }).toBeGreaterThan(0);
  });

  it("leaves no process behind", async () => {
    const told = await startProgram();
    const before = await childrenOf(told.pid ?? 0);
    const backup = client();
    await stopped(backup);
    const guard = (await childrenOf(told.pid ?? 0)).find((pid) => !before.includes(pid)) ?? 0;
    expect(await processesOfSession(guard)).toHaveLength(3);
    await backup.start({ signal });
    await isFree();
    await expect.poll(() => processesOfSession(guard)).toEqual([]);
  });
});

describe("the client of a root helper", () => {
  it("says that there is no helper", async () => {
    await expect(client().status({ signal })).rejects.toMatchObject({
      code: "ERR_NODE_CONTROL",
      message: expect.stringMatching(/ctl\.sock does not answer: there is no such socket; is it running\?$/),
    });
    await expect(client().stop(LONG)).rejects.toMatchObject({ code: "ERR_NODE_CONTROL" });
  });

  it("says that it may not use it", async () => {
    await startHelper();
    const user = process.geteuid?.() ?? 0;
    process.seteuid?.(user === 0 ? 65_534 : user);
    try {
      const asked = client().status({ signal });
      await expect(asked).rejects.toMatchObject({
        code: "ERR_NODE_CONTROL",
        message: expect.stringContaining("is this user in the group that it was started for?"),
      });
    } finally {
      process.seteuid?.(user);
    }
  });

  it.each([
    ["garbage", "\0\n"],
    ["an answer without a state", '{"ok":true}\n'],
    ["a state that there is not", '{"ok":true,"state":"on fire"}\n'],
    ["an endless line", "x".repeat(10_000)],
    ["nothing", ""],
  ])("is not taken in by a server that answers %s", async (_, answer) => {
    const path = join(folder, "other.sock");
    const server = createServer((socket) => {
      socket.on("error", () => {});
      socket.on("data", () => socket.end(answer));
    }).listen(path);
    await once(server, "listening");
    try {
      await expect(openHelperControl({ socket: path }).status({ signal })).rejects.toMatchObject({
        code: "ERR_NODE_CONTROL",
      });
    } finally {
      server.close();
    }
  });

  it("does not wait for a helper that says nothing once it is told to stop", async () => {
    const path = join(folder, "other.sock");
    const server = createServer().listen(path);
    await once(server, "listening");
    try {
      const asked = openHelperControl({ socket: path }).status({ signal: AbortSignal.timeout(200) });
      await expect(asked).rejects.toMatchObject({ code: "ERR_ABORTED" });
    } finally {
      server.close();
    }
  });
});

async function childrenOf(pid: number): Promise<number[]> {
  const text = await readFile(`/proc/${pid}/task/${pid}/children`, "latin1").catch(() => "");
  return text.split(" ").filter(Boolean).map(Number);
}
