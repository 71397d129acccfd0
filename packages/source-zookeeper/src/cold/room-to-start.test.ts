import { mkdtemp, rm, statfs, truncate, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { requireRoomToStart } from "./room-to-start.ts";

vi.mock("node:fs/promises", async (original) => ({ ...(await original<object>()), statfs: vi.fn() }));

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "zk-backyp-room-"));
});
afterEach(() => rm(folder, { recursive: true }));

function free(bytes: number): void {
  vi.mocked(statfs).mockResolvedValue({ bavail: bytes / 4096, bsize: 4096 } as Awaited<ReturnType<typeof statfs>>);
}

const room = (logs = folder): Promise<void> =>
  requireRoomToStart({ dataDir: folder, snapshots: folder, logs, zooCfg: null, server: null });

it("is the newest snapshot once more, and something for the rest", async () => {
  await writeFile(join(folder, "snapshot.1"), "");
  await truncate(join(folder, "snapshot.1"), 900e6);
  await writeFile(join(folder, "snapshot.2"), "");
  await truncate(join(folder, "snapshot.2"), 200e6);
  free(300e6);
  await room();
  free(260e6);
  await expect(room()).rejects.toMatchObject({
    code: "ERR_STOP_REFUSED",
    message: expect.stringMatching(/might not start again.* of the 268 MB .* only 260 MB are free in .*; make room$/),
  });
});

it("is asked of both disks where there are two", async () => {
  free(10e6);
  await expect(room(tmpdir())).rejects.toMatchObject({ code: "ERR_STOP_REFUSED", details: { path: folder } });
  vi.mocked(statfs).mockResolvedValueOnce({ bavail: 1e6, bsize: 4096 } as Awaited<ReturnType<typeof statfs>>);
  await expect(room(tmpdir())).rejects.toMatchObject({ code: "ERR_STOP_REFUSED", details: { path: tmpdir() } });
});
