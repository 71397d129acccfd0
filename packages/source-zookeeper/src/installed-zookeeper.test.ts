import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { delimiter, join, relative } from "node:path";
import { isBackypError } from "@zk-backyp/core";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { findZooKeeper } from "./installed-zookeeper.ts";

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "zk-backyp-installed-"));
  await mkdir(join(folder, "release/lib"), { recursive: true });
  for (const name of ["release/b.jar", "release/lib/a.jar", "release/lib/z.txt"])
    await writeFile(join(folder, name), "");
  await mkdir(join(folder, "jdk/bin"), { recursive: true });
  await writeFile(join(folder, "jdk/bin/java"), "", { mode: 0o755 });
});
afterEach(() => rm(folder, { recursive: true }));

describe("an installed ZooKeeper", () => {
  it("is found by absolute paths where the environment has relative ones", () => {
    const here = (name: string): string => relative(process.cwd(), join(folder, name));
    const expected = {
      java: join(folder, "jdk/bin/java"),
      classPath: [join(folder, "release/b.jar"), join(folder, "release/lib/a.jar")].join(delimiter),
    };
    const ZOOKEEPER_HOME = here("release");
    expect(findZooKeeper({ ZOOKEEPER_HOME, JAVA_HOME: here("jdk") })).toEqual(expected);
    expect(findZooKeeper({ ZOOKEEPER_HOME, PATH: `/nonexistent${delimiter}${here("jdk/bin")}` })).toEqual(expected);
  });

  it("takes no folder for java", async () => {
    const environment = { ZOOKEEPER_HOME: join(folder, "release"), PATH: join(folder, "other") };
    await mkdir(join(folder, "other/java"), { recursive: true });
    expect(() => findZooKeeper(environment)).toThrow(/there is no java/);
    const both = `${environment.PATH}${delimiter}${join(folder, "jdk/bin")}`;
    expect(findZooKeeper({ ...environment, PATH: both }).java).toBe(join(folder, "jdk/bin/java"));
  });

  it("takes no java from the current folder when there is no PATH", async () => {
    const home = process.cwd();
    process.chdir(join(folder, "jdk/bin"));
    try {
      expect(() => findZooKeeper({ ZOOKEEPER_HOME: join(folder, "release") })).toThrow(/there is no java/);
    } finally {
      process.chdir(home);
    }
  });

  it("says all that is missing", () => {
    expect(() => findZooKeeper({ ZOOKEEPER_HOME: join(folder, "jdk") })).toThrow(
      expect.toSatisfy((error: unknown) => isBackypError(error, "ERR_REHEARSAL_UNAVAILABLE")),
    );
  });
});
