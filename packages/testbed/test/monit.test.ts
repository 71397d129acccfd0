import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { type MonitService, monitMissing, requirePart, startMonit } from "../src/index.ts";

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "zk-backyp monit-"));
});
afterEach(() => rm(folder, { recursive: true }));

/** A process that ends with this one, or when it is told to. */
async function service(name: string): Promise<MonitService> {
  await mkdir(join(folder, name));
  const pidFile = join(folder, name, "pid");
  const start = join(folder, name, "start.sh");
  await writeFile(
    start,
    `/bin/sh -c 'while kill -0 ${process.pid}; do sleep 0.05; done' </dev/null >/dev/null 2>&1 &\necho $! >'${pidFile}'\n`,
  );
  const stop = join(folder, name, "stop.sh");
  await writeFile(
    stop,
    `pid=$(cat '${pidFile}')\nkill "$pid"\nwhile kill -0 "$pid"; do sleep 0.05; done\nrm '${pidFile}'\n`,
  );
  return { name, pidFile, start: ["/bin/sh", start], stop: ["/bin/sh", stop] };
}

const pidOf = async ({ pidFile }: MonitService): Promise<number> =>
  Number(await readFile(pidFile, "utf8").catch(() => ""));

async function untilRunning(each: MonitService): Promise<number> {
  await expect.poll(async () => isAlive(await pidOf(each)), { timeout: 10_000 }).toBe(true);
  return pidOf(each);
}

function isAlive(pid: number): boolean {
  try {
    return pid > 0 && process.kill(pid, 0);
  } catch {
    return false;
  }
}

describe.skipIf(!requirePart(monitMissing()))("monit", () => {
  it("starts its services, and starts again what died", async () => {
    const services = [await service("one"), await service("two")];
    const monit = await startMonit({ directory: join(folder, "monit"), services });
    try {
      const [one = 0, two = 0] = await Promise.all(services.map(untilRunning));
      process.kill(one, "SIGKILL");
      await expect.poll(() => pidOf(services[0] as MonitService), { timeout: 10_000 }).not.toBe(one);
      const again = await untilRunning(services[0] as MonitService);
      expect(await pidOf(services[1] as MonitService)).toBe(two);
      await monit.stop();
      // What it supervises is not its own.
      expect([again, two].map(isAlive)).toEqual([true, true]);
    } finally {
      await monit.kill();
      for (const each of services) process.kill(await untilRunning(each), "SIGKILL");
    }
  });

  it("keeps over a restart that a service was stopped", async () => {
    const one = await service("one");
    const monit = await startMonit({ directory: join(folder, "monit"), services: [one] });
    try {
      const pid = await untilRunning(one);
      const [program = "", ...args] = monit.command;
      await once(spawn(program, [...args, "stop", "one"], { stdio: "ignore" }), "exit");
      await expect.poll(() => isAlive(pid), { timeout: 10_000 }).toBe(false);
      // It is noted at the end of a cycle.
      await new Promise((resolve) => setTimeout(resolve, 1500));
      const before = monit.pid;
      await monit.restart();
      expect(monit.pid).not.toBe(before);
      await new Promise((resolve) => setTimeout(resolve, 2500));
      expect(await pidOf(one)).toBe(0);
    } finally {
      await monit.kill();
    }
  });

  it("does not outlive the process that started it, kill -9 included", async () => {
    const module = new URL("../dist/index.js", import.meta.url).href;
    const options = { directory: join(folder, "orphan"), services: [] };
    const script = `
      const { startMonit } = await import(${JSON.stringify(module)});
      const { pid } = await startMonit(${JSON.stringify(options)});
      console.log(pid);
      setInterval(() => {}, 1000);
    `;
    const child = spawn(process.execPath, ["--input-type=module", "-e", script], {
      stdio: ["ignore", "pipe", "inherit"],
    });
    const [line] = (await once(child.stdout, "data")) as [Buffer];
    const pid = Number(line.toString());
    expect(isAlive(pid)).toBe(true);
    child.kill("SIGKILL");
    await expect.poll(() => isAlive(pid), { timeout: 10_000 }).toBe(false);
  });

  it("says why it did not start", async () => {
    const broken = { ...(await service("one")), name: "no name at all" };
    await expect(startMonit({ directory: join(folder, "monit"), services: [broken] })).rejects.toThrow(
      /monit did not start in .*syntax error/s,
    );
  });
});
