import { execFile } from "node:child_process";
import { mkdir, mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { unpackFixture } from "@zk-backyp/testbed";
import { afterAll, beforeAll, describe, expect, it } from "vitest";

const README = new URL("../../zookeeper-files/README.md", import.meta.url);
const PACKAGE = fileURLToPath(new URL("..", import.meta.url));
const EXAMPLES = [...(await readFile(README, "utf8")).matchAll(/```js\n(.*?)```/gs)].map(([, code = ""]) => code);
/** What each of them prints of the files that a 3.8.0 server wrote, at least. */
const EXPECTED = [
  /zxid: '0x3ea'(.*\n)+3\.9\.4 loads 0x3ea/,
  /^990 \{ zxid: 996n(.*\n)+0x1 -10\n0x2 1\n(.*\n)+padding \d+ \[\]/,
  /\/app\/container 1 0\n/,
  /^0x3e3 989 2207573197589n matched \[\]\n\/app 0 12\n/,
];

let folder: string;
let dataDir: string;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "readme-examples-"));
  ({ dataDir } = await unpackFixture("zookeeper-3.8.0-rich", folder));
  await mkdir(join(folder, "cut"));
});

afterAll(() => rm(folder, { recursive: true }));

describe("the examples in the library's README", () => {
  it("are all expected here", () => {
    expect(EXAMPLES).toHaveLength(EXPECTED.length);
  });

  it.each(EXPECTED.map((expected, index) => [index, expected] as const))("run: number %i", async (index, expected) => {
    const code = (EXAMPLES[index] as string)
      .replaceAll("/var/lib/zookeeper", dataDir)
      .replace('snapshot.22.gz"), { compression: "gz" }', 'snapshot.3e4")')
      .replaceAll("snapshot.22", "snapshot.3e4")
      .replaceAll("version-2/", `${dataDir}/version-2/`)
      .replaceAll("cut/", `${folder}/cut/`)
      .replaceAll("/services", "/app");
    const run = promisify(execFile)(process.execPath, ["--input-type=module", "--eval", code], { cwd: PACKAGE });
    await expect(run).resolves.toMatchObject({ stdout: expect.stringMatching(expected), stderr: "" });
  });
});
