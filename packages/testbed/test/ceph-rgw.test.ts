import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { cephRgwMissing, requirePart, startCephRgw } from "../src/index.ts";

function listens(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, "127.0.0.1");
    socket.on("connect", () => {
      socket.destroy();
      resolve(true);
    });
    socket.on("error", () => resolve(false));
  });
}

describe.skipIf(!requirePart(cephRgwMissing()))("Ceph RGW", () => {
  let base: string;
  beforeAll(async () => {
    base = await mkdtemp(join(tmpdir(), "zk-backyp-rgw-"));
  });
  afterAll(() => rm(base, { recursive: true, force: true }));

  it("starts several stores at once, each with users of its own, and stops them", async () => {
    const stores = await Promise.all(["a", "b"].map((name) => startCephRgw({ directory: join(base, name) })));
    try {
      expect(new Set(stores.map(({ port }) => port)).size).toBe(2);
      for (const store of stores) {
        expect((await fetch(store.endpoint)).status).toBe(200);
        const user = await store.createUser("other");
        expect(user.accessKeyId).not.toBe(store.accessKeyId);
      }
    } finally {
      await Promise.all(stores.map((store) => store.stop()));
    }
    for (const { port } of stores) expect(await listens(port)).toBe(false);
  });

  it("does not outlive the process that started it, kill -9 included", async () => {
    const module = new URL("../dist/index.js", import.meta.url).href;
    const script = `
      const { startCephRgw } = await import(${JSON.stringify(module)});
      const { port } = await startCephRgw({ directory: ${JSON.stringify(join(base, "orphan"))} });
      console.log(port);
      setInterval(() => {}, 1000);
    `;
    const child = spawn(process.execPath, ["--input-type=module", "-e", script], {
      stdio: ["ignore", "pipe", "inherit"],
    });
    const [line] = (await once(child.stdout, "data")) as [Buffer];
    const port = Number(line.toString());
    expect(await listens(port)).toBe(true);
    child.kill("SIGKILL");
    for (let tries = 0; tries < 50 && (await listens(port)); tries += 1) await sleep(100);
    expect(await listens(port)).toBe(false);
  });

  it("says why it did not start", async () => {
    const start = startCephRgw({
      directory: join(base, "broken"),
      config: ["rgw_frontends = nonsense port=1"],
      timeoutMs: 5000,
    });
    await expect(start).rejects.toThrow(/Ceph RGW did not start in .*broken/);
  });
});

it("a missing part is skipped with a warning, and an error under CI", () => {
  const { CI } = process.env;
  const warned: unknown[] = [];
  const warn = console.warn;
  console.warn = (message: unknown) => warned.push(message);
  try {
    delete process.env.CI;
    expect(requirePart(null)).toBe(true);
    expect(requirePart("x not found: run `apt-get install x`")).toBe(false);
    expect(warned).toEqual(["SKIPPED TESTS: x not found: run `apt-get install x`"]);
    process.env.CI = "true";
    expect(requirePart(null)).toBe(true);
    expect(() => requirePart("x not found: run `apt-get install x`")).toThrow("run `apt-get install x`");
  } finally {
    console.warn = warn;
    if (CI === undefined) delete process.env.CI;
    else process.env.CI = CI;
  }
});
