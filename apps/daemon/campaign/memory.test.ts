import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { cephRgwMissing, requirePart } from "@zk-backyp/testbed";
import { expect, it } from "vitest";
import { measureMemory } from "../test/memory-run.ts";

it.skipIf(!requirePart(cephRgwMissing()))("2 GiB go through every command in less than 200 MB of memory", async () => {
  const folder = await mkdtemp(join(tmpdir(), "zk-backyp-memory-"));
  try {
    const figures = await measureMemory(folder, 2 * 1024 ** 3);
    console.table(figures);
    for (const figure of figures) expect(figure.peakMB, JSON.stringify(figure)).toBeLessThan(200);
  } finally {
    await rm(folder, { recursive: true });
  }
});
