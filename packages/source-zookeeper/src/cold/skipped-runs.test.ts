import { mkdir, mkdtemp, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { skippedRuns } from "./skipped-runs.ts";

let folder: string;
let file: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "zk-backyp-skipped-"));
  file = join(folder, "skipped-runs.json");
});
afterEach(() => rm(folder, { recursive: true }));

const kept = async (): Promise<{ count: number; since: string }> => JSON.parse(await readFile(file, "utf8"));

describe("skipped runs", () => {
  it("are no failure until there were as many in a row as are allowed, however often the process was started anew", async () => {
    for (let run = 1; run <= 3; run += 1) await skippedRuns(folder, 3).add("it is the leader");
    const { since } = await kept();
    for (const count of [4, 5]) {
      await expect(skippedRuns(folder, 3).add("it is the leader")).rejects.toMatchObject({
        code: "ERR_STOP_REFUSED",
        message: expect.stringMatching(
          new RegExp(`^it is the leader. So it was in ${count} runs in a row, since ${since}: there are no backups`),
        ),
        details: { skippedRuns: count, since },
      });
    }
  });

  it("are not written through a link that somebody has put in their place", async () => {
    await writeFile(join(folder, "victim"), "untouched");
    await symlink("victim", file);
    await skippedRuns(folder, 3).add("it is the leader");
    expect(await readFile(join(folder, "victim"), "utf8")).toBe("untouched");
    expect(await kept()).toMatchObject({ count: 1 });
  });

  it("are never allowed with 0", async () => {
    await expect(skippedRuns(folder, 0).add("it is the leader")).rejects.toMatchObject({ code: "ERR_STOP_REFUSED" });
  });

  it("are counted anew after a run that was not skipped", async () => {
    const skips = skippedRuns(folder, 1);
    await skips.add("it is the leader");
    await skips.reset();
    await skips.reset();
    await skips.add("it is the leader");
    expect(await kept()).toMatchObject({ count: 1 });
  });

  it("are counted in a folder that is made when it is needed", async () => {
    const stateDir = join(folder, "not", "yet");
    await skippedRuns(stateDir, 3).reset();
    await skippedRuns(stateDir, 3).add("it is the leader");
    expect(JSON.parse(await readFile(join(stateDir, "skipped-runs.json"), "utf8"))).toMatchObject({ count: 1 });
  });

  it.each([
    "",
    "{",
    "null",
    "5",
    "[]",
    '{"count":2',
    '{"count":"2","since":"x"}',
    '{"count":1e99,"since":"x"}',
    '{"count":-7,"since":"x"}',
    '{"count":2}',
  ])("are counted anew where the file holds %j", async (text) => {
    await writeFile(file, text);
    await skippedRuns(folder, 3).add("it is the leader");
    expect(await kept()).toEqual({ count: 1, since: expect.stringMatching(/^\d{4}-.*Z$/) });
  });

  it("that cannot be counted are said so, as nobody would notice else", async () => {
    await mkdir(join(file, "x"), { recursive: true });
    const refused = {
      code: "ERR_STOP_REFUSED",
      message: expect.stringMatching(
        /cannot count the skipped runs in .*skipped-runs\.json: .* or name another stateDir/,
      ),
      details: { path: file },
    };
    await expect(skippedRuns(folder, 3).add("it is the leader")).rejects.toMatchObject(refused);
    await expect(skippedRuns(folder, 3).reset()).rejects.toMatchObject(refused);
    const underAFile = join(folder, "file");
    await writeFile(underAFile, "");
    await expect(skippedRuns(underAFile, 3).add("it is the leader")).rejects.toMatchObject({
      code: "ERR_STOP_REFUSED",
    });
  });
});
