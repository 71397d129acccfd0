import { spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { once } from "node:events";
import { mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { collect } from "@zk-backyp/core";
import { afterAll, beforeAll, expect, it } from "vitest";
import { createFsSink } from "../src/index.ts";

const ROUNDS = 25;
const script = fileURLToPath(new URL("put-for-ever.ts", import.meta.url));
let root: string;

beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), "sink-fs-kill-"));
});
afterAll(() => rm(root, { recursive: true, force: true }));

it("shows no half-written object after kill -9 at any moment", async () => {
  const sink = createFsSink({ path: root });
  const { signal } = new AbortController();
  const promised: string[] = [];
  for (let round = 0; round < ROUNDS; round += 1) {
    const child = spawn(process.execPath, [script, root], { stdio: ["ignore", "pipe", "inherit"] });
    let reported = "";
    child.stdout.on("data", (chunk: Buffer) => {
      reported += chunk.toString();
    });
    const closed = once(child, "close");
    await once(child.stdout, "data");
    await delay(Math.random() * 60);
    child.kill("SIGKILL");
    await closed;
    for (const line of reported.split("\n").slice(0, -1)) promised.push(`new/${child.pid}-${line}`);

    const listed: string[] = [];
    for await (const { key, size } of sink.list("", { signal })) {
      listed.push(key);
      const object = await collect(sink.get(key, { signal }), 10_000_000);
      expect(object.byteLength).toBe(size);
      const seal = createHash("sha256").update(object.subarray(0, -32)).digest();
      expect(seal.equals(object.subarray(-32)), `${key} after round ${round}`).toBe(true);
    }
    // What a put had resolved for is there.
    expect(listed).toEqual(expect.arrayContaining(promised));
    for (const key of listed.slice(0, -5)) {
      if (key.startsWith("new/")) await sink.delete(key, { signal });
    }
    promised.splice(0);
  }
  // Otherwise no kill came in the middle of a put, and nothing was proved.
  expect((await readdir(join(root, ".tmp~"))).length).toBeGreaterThan(0);
});
