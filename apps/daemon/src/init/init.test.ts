import { chmod, mkdtemp, readdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { FoundServer } from "@zk-backyp/source-zookeeper";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { CommandContext } from "../command-context.ts";
import { init } from "../commands/init.ts";
import { readDaemonConfig } from "../config.ts";
import { createLogger } from "../logger.ts";

const SERVER: FoundServer = {
  pid: 42,
  uid: 100,
  zooCfg: "/etc/zookeeper/conf/zoo.cfg",
  dataDir: "/var/lib/zookeeper",
  dataLogDir: null,
  clientPort: 2181,
  members: 0,
  supervisor: null,
  problem: null,
};

let folder: string;
let path: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "zk-backyp-init-"));
  path = join(folder, "zk-backyp.config.yaml");
});
afterEach(() => rm(folder, { recursive: true }));

async function run(
  flags: { readonly to?: string; readonly force?: boolean; readonly output?: string },
  servers: readonly Partial<FoundServer>[],
  json = false,
): Promise<string> {
  let printed = "";
  const context: CommandContext = {
    signal: new AbortController().signal,
    logger: createLogger(),
    json,
    print(text) {
      printed += `${text}\n`;
    },
    write: async () => {},
  };
  const found = servers.map((server) => ({ ...SERVER, ...server }));
  expect(await init({ output: path, ...flags }, context, async () => found)).toBe(0);
  return printed;
}

describe("a new configuration", () => {
  it.each<[what: string, servers: Partial<FoundServer>[], series: object]>([
    [
      "none",
      [],
      { zookeeper: { source: { use: "zookeeper", zooCfg: "/etc/zookeeper/conf/zoo.cfg" }, runOn: "always" } },
    ],
    ["one", [{}], { zookeeper: { source: { zooCfg: "/etc/zookeeper/conf/zoo.cfg" }, runOn: "always" } }],
    ["a member of an ensemble", [{ members: 3 }], { zookeeper: { runOn: "elected" } }],
    [
      "one without zoo.cfg",
      [{ zooCfg: null, dataDir: "/zk", clientPort: 2199 }],
      { zookeeper: { source: { dataDir: "/zk", server: "127.0.0.1:2199" } } },
    ],
    [
      "several",
      [{ clientPort: 1 }, { clientPort: 2 }, { clientPort: 2 }, { clientPort: null }],
      { "zookeeper-1": {}, "zookeeper-2": {}, "zookeeper-2-3": {}, "zookeeper-4": {} },
    ],
    [
      "one with odd names",
      [{ zooCfg: '/x "y": #z\n[', supervisor: { use: "systemd", unit: "a\\x2db.service" } }],
      { zookeeper: { source: { zooCfg: '/x "y": #z\n[' } } },
    ],
  ])("is valid, and private, for %s server(s)", async (_what, servers, series) => {
    const printed = await run({ to: join(folder, "backups") }, servers);
    const config = await readDaemonConfig(path);
    expect(config?.series).toMatchObject(series);
    expect(Object.keys(config?.series ?? {})).toEqual(Object.keys(series));
    for (const { sink } of Object.values(config?.series ?? {})) {
      expect(sink).toEqual({ use: "fs", path: join(folder, "backups") });
    }
    expect(((await stat(path)).mode & 0o777).toString(8)).toBe("600");
    expect(printed).toContain(`wrote ${path}`);
    expect(printed).toContain(`zk-backyp check --config ${path}`);
    expect(await readdir(folder)).toEqual(["zk-backyp.config.yaml"]);
  });

  it.each<[Partial<FoundServer>, RegExp]>([
    [
      { supervisor: { use: "systemd", unit: "zk.service" } },
      /# cold: \{ control: \{"use":"systemd","unit":"zk\.service"\} \}/,
    ],
    [
      { supervisor: { use: "monit", service: "zk", command: ["/m"] } },
      /# cold: \{ control: \{"use":"monit","service":"zk","command":\["\/m"\]\} \}/,
    ],
  ])(
    "is ready for cold backups by the supervisor that was found, once the comment is taken away",
    async (server, line) => {
      await run({ to: folder }, [server]);
      const text = await readFile(path, "utf8");
      expect(text).toMatch(line);
      await chmod(path, 0o600);
      await writeFile(path, text.replace(/# (mode|cold): /g, "$1: "));
      expect(await readDaemonConfig(path)).toMatchObject({
        series: { zookeeper: { source: { mode: "cold", cold: { control: server.supervisor } } } },
      });
    },
  );

  it("takes an address of S3 apart, and has no sink of its own then to be changed", async () => {
    await run({ to: "s3://backups/zk?endpoint=http://127.0.0.1:9000&pathStyle=true" }, [{}]);
    const sink = (await readDaemonConfig(path))?.series.zookeeper?.sink;
    expect(sink).toEqual({
      use: "s3",
      bucket: "backups",
      prefix: "/zk",
      endpoint: "http://127.0.0.1:9000",
      pathStyle: true,
    });
    expect(await readFile(path, "utf8")).not.toContain("CHANGE THIS");
  });

  it("says where the backups go has to be said", async () => {
    const printed = await run({}, [{}]);
    expect(printed).toMatch(/1\. say where the backups go/);
    expect(await readFile(path, "utf8")).toContain("CHANGE THIS");
  });

  it("says that nothing was found", async () => {
    expect(await run({ to: folder }, [])).toMatch(/no ZooKeeper was found/);
    expect(await readFile(path, "utf8")).toContain("No ZooKeeper was found");
  });

  it("never takes the place of what is there, but by force", async () => {
    await writeFile(path, "mine");
    await expect(run({ to: folder }, [{}])).rejects.toMatchObject({ code: "ERR_TARGET_NOT_EMPTY" });
    expect(await readFile(path, "utf8")).toBe("mine");
    expect(await readdir(folder)).toEqual(["zk-backyp.config.yaml"]);
    await run({ to: folder, force: true }, [{}]);
    expect(await readFile(path, "utf8")).toMatch(/^# Configuration of zk-backyp/);
  });

  it.each([
    [{ output: "x.json" }, "ERR_CONFIG_INVALID"],
    [{ output: "/nonexistent/x.yaml" }, "ERR_TARGET_UNAVAILABLE"],
    [{ to: "" }, "ERR_CONFIG_INVALID"],
    [{ to: "s3://backups/zk?secretAccessKey=x" }, "ERR_CONFIG_INVALID"],
    [{ to: "tape://x" }, "ERR_PLUGIN_NOT_FOUND"],
  ])("is refused with %j", async (flags, code) => {
    await expect(run(flags, [{}])).rejects.toMatchObject({ code });
    expect(await readdir(folder)).toEqual([]);
  });

  it("is told as JSON, too", async () => {
    const document = JSON.parse(await run({ to: folder }, [{ members: 3 }], true));
    expect(document).toEqual({
      written: path,
      servers: [{ ...SERVER, members: 3 }],
      next: [`zk-backyp check --config ${path}`, `zk-backyp daemon --config ${path}`],
    });
  });
});
