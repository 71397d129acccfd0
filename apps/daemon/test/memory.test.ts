import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { cephRgwMissing, requirePart } from "@zk-backyp/testbed";
import { expect, it } from "vitest";
import { measureMemory } from "./memory-run.ts";

// Three times what may be in memory; the campaign has 2 GiB.
it.skipIf(!requirePart(cephRgwMissing()))(
  "600 MiB go through every command in less than 200 MB of memory",
  async () => {
    const folder = await mkdtemp(join(tmpdir(), "zk-backyp-memory-"));
    try {
      const figures = await measureMemory(folder, 600 * 1024 * 1024);
      expect(figures).toHaveLength(6);
      for (const figure of figures) expect(figure.peakMB, JSON.stringify(figure)).toBeLessThan(200);
    } finally {
      await rm(folder, { recursive: true });
    }
  },
);
