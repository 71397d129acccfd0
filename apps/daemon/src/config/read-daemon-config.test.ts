import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { isBackypError } from "@zk-backyp/core";
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from "vitest";
import type { ConfigIssue } from "./config-issues.ts";
import { readConfig } from "./read-config.ts";
import { readDaemonConfig } from "./read-daemon-config.ts";

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "zk-backyp-config-"));
  await writeFile(join(folder, "long.token"), "0123456789abcdef0123\n");
});
afterAll(() => rm(folder, { recursive: true }));
afterEach(() => vi.unstubAllEnvs());

async function configure(text: string): Promise<string> {
  const path = join(folder, "zk-backyp.config.yaml");
  await writeFile(path, text);
  return path;
}

async function issuesOf(text: string): Promise<readonly ConfigIssue[]> {
  const error: unknown = await readDaemonConfig(await configure(text)).catch((reason: unknown) => reason);
  if (!isBackypError(error, "ERR_CONFIG_INVALID")) throw new Error(`not refused as it should be: ${String(error)}`);
  return error.details.issues as readonly ConfigIssue[];
}

const GOOD = `
series:
  a:
    source: { use: zookeeper, dataDir: /zk }
    sink: { use: fs, path: /backups }
`;
/** A good configuration with more in its series. */
const withSeries = (more: string): string => `${GOOD}    ${more}\n`;
const withSource = (more: string): string => GOOD.replace("dataDir: /zk", `dataDir: /zk, ${more}`);
const withSink = (sink: string): string => GOOD.replace("{ use: fs, path: /backups }", sink);
const with2 = (more: string): string => `${GOOD}${more}\n`;

describe("a configuration for the daemon", () => {
  it("has defaults, full paths and secrets in their places", async () => {
    vi.stubEnv("HOOK_OF_THE_TEST", "https://hooks.example.com/s3cret");
    const text = `${withSeries("schedule: { cron: '0 2 * * *', timeZone: Europe/Berlin, jitter: 60 }")}
http: { token: { file: long.token } }
stateDir: state
notifications:
  - { use: webhook, url: { env: HOOK_OF_THE_TEST }, headers: { x-key: { file: long.token } }, body: { key: { file: long.token } } }
  - { use: command, command: [page], on: [stale] }
`;
    expect(await readDaemonConfig(await configure(text))).toMatchObject({
      folder,
      http: { host: "127.0.0.1", port: 9642, token: "0123456789abcdef0123" },
      stateDir: join(folder, "state"),
      log: { level: "info" },
      notifications: [
        {
          use: "webhook",
          url: "https://hooks.example.com/s3cret",
          headers: { "x-key": "0123456789abcdef0123" },
          body: { key: "0123456789abcdef0123" },
        },
        { use: "command", command: ["page"], on: ["stale"] },
      ],
    });
  });

  it("takes the state directory of systemd where it names none", async () => {
    vi.stubEnv("STATE_DIRECTORY", "/var/lib/zk-backyp:/var/lib/other");
    expect(await readDaemonConfig(await configure(GOOD))).toMatchObject({ stateDir: "/var/lib/zk-backyp" });
    vi.stubEnv("STATE_DIRECTORY", "");
    expect(await readDaemonConfig(await configure(GOOD))).toMatchObject({ stateDir: undefined });
  });

  it.each(["mjs", "json"])("is read anew when it has changed, from a .%s", async (ending) => {
    const path = join(folder, `changing.${ending}`);
    const content = (port: number): string =>
      JSON.stringify({
        series: { a: { source: { use: "zookeeper" }, sink: { use: "fs", path: "/b" } } },
        http: { port },
      });
    for (const port of [1, 2]) {
      await writeFile(path, ending === "mjs" ? `export default ${content(port)}` : content(port));
      expect(await readDaemonConfig(path)).toMatchObject({ http: { port } });
    }
  });

  it("may switch HTTP off", async () => {
    expect(await readDaemonConfig(await configure(with2("http: false")))).toMatchObject({ http: false });
  });

  it.each<[what: string, text: string, path: string, message: RegExp]>([
    ["nothing", "", "", /of type object/],
    ["a list", "[]", "", /of type object/],
    ["no series", "http: { port: 1 }", "series", /there are none/],
    ["an empty series section", "series: {}", "series", /there are none/],
    ["only a helper", "helper: { socket: /x }", "series", /nothing to do/],
    ["a section that is not known", with2("htpp: false"), "htpp", /did you mean http\?/],
    [
      "a field of a series that is not known",
      withSeries("retenton: { daily: 1 }"),
      "series.a.retenton",
      /mean retention\?/,
    ],
    ["a field that nothing is like", withSeries("colour: red"), "series.a.colour", /^is not known$/],
    ["no sink", "series: { a: { source: { use: zookeeper } } }", "series.a.sink", /is missing/],
    ["a sink without a name", withSink("{ path: /x }"), "series.a.sink.use", /is missing/],
    ["a sink that is not there", withSink("{ use: tape }"), "series.a.sink.use", /there is no sink plugin "tape"/],
    [
      "a sink in the source's place",
      GOOD.replace("use: zookeeper", "use: fs"),
      "series.a.source.use",
      /no source plugin "fs"/,
    ],
    [
      "an option of the sink that is not known",
      withSink("{ use: fs, path: /x, pth: /y }"),
      "series.a.sink.pth",
      /did you mean path\?/,
    ],
    [
      "an option of the source that is not known",
      withSource("datalogdir: /x"),
      "series.a.source.datalogdir",
      /mean dataLogDir\?/,
    ],
    ["a missing option of the sink", withSink("{ use: fs }"), "series.a.sink.path", /is missing/],
    ["a number in a text's place", withSink("{ use: fs, path: 7 }"), "series.a.sink.path", /of type string/],
    ["an empty text", withSource('zooCfg: ""'), "series.a.source.zooCfg", /is empty/],
    ["an address that is none", withSource("server: zk1"), "series.a.source.server", /is not host:port/],
    ["cold mode without control", withSource("mode: cold"), "series.a.source.mode", /needs cold\.control/],
    ["cold mode beside it without control", withSeries("mode: cold"), "series.a.source.mode", /needs cold\.control/],
    [
      "a control that is not known",
      withSource("cold: { control: { use: runit } }"),
      "series.a.source.cold.control.use",
      /./,
    ],
    [
      "a unit that is none",
      withSource("cold: { control: { use: systemd, unit: -x } }"),
      "series.a.source.cold.control.unit",
      /is no name of a unit/,
    ],
    ["two modes", withSource("mode: hot").concat("    mode: cold\n"), "series.a.mode", /say it once/],
    [
      "half of a key pair",
      withSink("{ use: s3, bucket: bbb, accessKeyId: x }"),
      "series.a.sink.secretAccessKey",
      /go together/,
    ],
    [
      "a part size that is too small",
      withSink("{ use: s3, bucket: bbb, partSizeBytes: 5 }"),
      "series.a.sink.partSizeBytes",
      /Too small/,
    ],
    [
      "a variable that is not set",
      withSink("{ use: fs, path: { env: NOT_SET_X } }"),
      "series.a.sink.path",
      /NOT_SET_X is not set/,
    ],
    [
      "a secret's file that is not there",
      withSink("{ use: fs, path: { file: none.txt } }"),
      "series.a.sink.path",
      /cannot read .*none\.txt/,
    ],
    ["a prefix that is none", withSeries("prefix: a/b"), "series.a.prefix", /is no prefix/],
    ["a name that is no prefix", GOOD.replace("  a:", '  "a b":'), 'series."a b"', /no name that ids could begin with/],
    ["a compression that is none", withSeries("compression: zip"), "series.a.compression", /cannot be this/],
    [
      "a level that is none",
      withSeries("compression: { gzip: { level: 11 } }"),
      "series.a.compression.gzip.level",
      /Too big/,
    ],
    ["a mode that is none", withSeries("mode: warm"), "series.a.mode", /./],
    ["rules that keep nothing", withSeries("retention: {}"), "series.a.retention", /no rule would keep/],
    [
      "a rule that is not known",
      withSeries("retention: { dayly: 3 }"),
      "series.a.retention.dayly",
      /did you mean daily\?/,
    ],
    ["a rule of zero", withSeries("retention: { daily: 0 }"), "series.a.retention.daily", /Too small/],
    [
      "a duration of a rule that is none",
      withSeries("retention: { within: 3 days }"),
      "series.a.retention.within",
      /is no duration/,
    ],
    [
      "a time zone of rules that is none",
      withSeries("retention: { daily: 1, timeZone: Mars }"),
      "series.a.retention.timeZone",
      /is no time zone/,
    ],
    ["a schedule that says nothing", withSeries("schedule: {}"), "series.a.schedule", /neither interval nor cron/],
    [
      "a schedule that says both",
      withSeries("schedule: { interval: 60, cron: '0 2 * * *' }"),
      "series.a.schedule.cron",
      /exclude each other/,
    ],
    ["an interval of nothing", withSeries("schedule: { interval: 0 }"), "series.a.schedule.interval", /Too small/],
    [
      "an interval of more than a year",
      withSeries("schedule: { interval: 99999999 }"),
      "series.a.schedule.interval",
      /Too big/,
    ],
    [
      "an interval as a text",
      withSeries("schedule: { interval: 24h }"),
      "series.a.schedule.interval",
      /of type number/,
    ],
    [
      "a jitter as long as the interval",
      withSeries("schedule: { interval: 60, jitter: 60 }"),
      "series.a.schedule.jitter",
      /shorter than interval/,
    ],
    [
      "a time zone of an interval",
      withSeries("schedule: { interval: 60, timeZone: UTC }"),
      "series.a.schedule.timeZone",
      /is for cron/,
    ],
    [
      "a time zone that is none",
      withSeries("schedule: { cron: '0 2 * * *', timeZone: Europe/Berln }"),
      "series.a.schedule.timeZone",
      /is no time zone/,
    ],
    ["a cron expression that is none", withSeries("schedule: { cron: 'at noon' }"), "series.a.schedule.cron", /./],
    [
      "a cron expression that never comes due",
      withSeries("schedule: { cron: '0 0 30 2 *' }"),
      "series.a.schedule.cron",
      /./,
    ],
    [
      "a schedule of verify that is none",
      withSeries("verify: { schedule: { cron: '99 * * * *' } }"),
      "series.a.verify.schedule.cron",
      /./,
    ],
    ["an age that is none", withSeries("staleAfter: soon"), "series.a.staleAfter", /is no duration/],
    [
      "a choice for the election without one",
      withSeries("ifElectionDown: run"),
      "series.a.ifElectionDown",
      /needs runOn: elected/,
    ],
    ["a port that is none", with2("http: { port: 70000 }"), "http.port", /Too big/],
    ["a token that is short", with2("http: { token: '0123456789abcde' }"), "http.token", /shorter than 16/],
    [
      "a token with a space in it",
      with2("http: { token: 'correct horse battery staple' }"),
      "http.token",
      /holds a space/,
    ],
    ["a token that is not there", with2("http: { token: { env: NOT_SET_X } }"), "http.token", /NOT_SET_X is not set/],
    [
      "a certificate that is not there",
      with2("http: { tls: { certFile: /none.crt, keyFile: long.token } }"),
      "http.tls.certFile",
      /cannot be read/,
    ],
    ["a notification that is not known", with2("notifications: [{ use: smoke }]"), "notifications[0].use", /webhook/],
    ["a webhook without an address", with2("notifications: [{ use: webhook }]"), "notifications[0].url", /./],
    [
      "a webhook of another kind",
      with2("notifications: [{ use: webhook, url: 'ftp://x/' }]"),
      "notifications[0].url",
      /http:\/\//,
    ],
    [
      "a header with a line end",
      with2('notifications: [{ use: webhook, url: "http://x/", headers: { a: "b\\nc" } }]'),
      "notifications[0].headers.a",
      /line end/,
    ],
    [
      "a header's name that is none",
      with2('notifications: [{ use: webhook, url: "http://x/", headers: { "a b": c } }]'),
      'notifications[0].headers."a b"',
      /no name of a header/,
    ],
    [
      "a template that names nothing known",
      with2("notifications: [{ use: webhook, url: 'http://x/', body: { a: ['{{serie}}'] } }]"),
      "notifications[0].body.a[0]",
      /serie.* is not known/,
    ],
    [
      "an empty command",
      with2("notifications: [{ use: command, command: [] }]"),
      "notifications[0].command",
      /is empty/,
    ],
    [
      "an event that is none",
      with2("notifications: [{ use: command, command: [x], on: [success] }]"),
      "notifications[0].on[0]",
      /./,
    ],
    ["a level of the log that is none", with2("log: { level: loud }"), "log.level", /./],
  ])("with %s is refused", async (_what, text, path, message) => {
    const issues = await issuesOf(text);
    expect(issues.map((issue) => issue.path)).toEqual([path]);
    expect(issues[0]?.message).toMatch(message);
  });

  it("is told everything that is wrong at once, with line, expectation and example", async () => {
    const issues = await issuesOf(`# ours
series:
  zk-prod:
    source:
      use: zookeeper
      dataDri: /zk
    sink: { use: s3, bucket: backups, accessKeyId: { env: NOT_SET_X }, secretAccessKey: { env: NOT_SET_Y } }
    schedule:
      interval: daily
    verify: { schedule: { cron: at noon } }
    retention: { daily: many }
http:
  port: "9642"
notifications:
  - use: command
    command: [page]
  - use: webhook
    url: mailto:x
  - use: smoke
`);
    expect(issues).toEqual([
      {
        path: "series.zk-prod.source.dataDri",
        message: "is not known: did you mean dataDir?",
        expected: expect.stringContaining("dataDir, dataLogDir, zooCfg"),
        found: null,
        example: 'dataDir: "/var/lib/zookeeper"',
        line: 6,
      },
      expect.objectContaining({ path: "series.zk-prod.sink.accessKeyId", line: 7, found: "{ env: NOT_SET_X }" }),
      expect.objectContaining({ path: "series.zk-prod.sink.secretAccessKey", line: 7 }),
      {
        path: "series.zk-prod.schedule.interval",
        message: "has to be of type number, and is of type string",
        expected: "a whole number from 1 to 31622400",
        found: '"daily"',
        example: "interval: 86400",
        line: 9,
      },
      expect.objectContaining({ path: "series.zk-prod.verify.schedule.cron", found: '"at noon"', line: 10 }),
      expect.objectContaining({ path: "series.zk-prod.retention.daily", found: '"many"', line: 11 }),
      expect.objectContaining({ path: "http.port", example: "port: 9642", line: 13 }),
      expect.objectContaining({ path: "notifications[1].url", line: 18 }),
      expect.objectContaining({ path: "notifications[2].use", line: 19 }),
    ]);
  });

  it.each([
    ["http: { token: short-secret }", "short-secret"],
    ["http: { token: { env: SECRET_OF_THE_TEST } }", "too-short"],
    ["notifications: [{ use: webhook, url: 'no address but a s3cret' }]", "s3cret"],
    ["notifications: [{ use: webhook, url: 'http://x', headers: { a: \"s3cret\\n\" } }]", "s3cret"],
  ])("is told what is wrong with a secret without the secret: %s", async (text, value) => {
    vi.stubEnv("SECRET_OF_THE_TEST", "too-short");
    const issues = await issuesOf(with2(text));
    expect(issues).toHaveLength(1);
    expect(JSON.stringify(issues)).not.toContain(value);
  });

  it("does not say what a sink's address or key holds", async () => {
    const sink = "{ use: s3, bucket: bbb, endpoint: 'https://me:s3cret@x', secretAccessKey: 17, accessKeyId: x }";
    const issues = await issuesOf(withSink(sink));
    expect(issues.map(({ path }) => path)).toEqual(["series.a.sink.endpoint", "series.a.sink.secretAccessKey"]);
    expect(JSON.stringify(issues)).not.toMatch(/s3cret|17/);
  });

  it.each([
    ["the same prefix into the same folder", "{ use: fs, path: /backups/ }", "prefix: a", 1],
    ["the same prefix, by another way to the folder", "{ use: fs, path: /x/../backups }", "prefix: a", 1],
    ["the same prefix into another folder", "{ use: fs, path: /elsewhere }", "prefix: a", 0],
    ["another prefix into the same folder", "{ use: fs, path: /backups }", "prefix: c", 0],
  ])("with two series, %s", async (_what, sink, prefix, count) => {
    const text = `${GOOD}  b: { source: { use: zookeeper, dataDir: /zk }, sink: ${sink}, ${prefix} }\n`;
    if (count === 0)
      expect(Object.keys((await readDaemonConfig(await configure(text)))?.series ?? {})).toEqual(["a", "b"]);
    else expect(await issuesOf(text)).toEqual([expect.objectContaining({ path: "series.b.prefix" })]);
  });

  it("tells buckets of one name in two stores apart", async () => {
    const sink = (port: number): string => `{ use: s3, bucket: bbb, endpoint: "http://127.0.0.1:${port}" }`;
    const other = (port: number): string =>
      `${withSink(sink(1))}  b: { source: { use: zookeeper, dataDir: /zk }, sink: ${sink(port)}, prefix: a }\n`;
    expect(await issuesOf(other(1))).toEqual([expect.objectContaining({ path: "series.b.prefix" })]);
    expect(await readDaemonConfig(await configure(other(2)))).not.toBeNull();
  });
});

describe("a configuration for one command", () => {
  it("needs no secret of the daemon, and no other series' plugins", async () => {
    const text = `${withSink("{ use: fs, path: { env: NOT_SET_X } }")}http: { token: { env: NOT_SET_Y } }\n`;
    expect(await readConfig(await configure(text))).toMatchObject({ series: { a: { sink: { use: "fs" } } } });
  });

  it("is refused with the same issues where its form is wrong", async () => {
    await expect(readConfig(await configure(withSeries("prefx: b")))).rejects.toMatchObject({
      code: "ERR_CONFIG_INVALID",
      message: expect.stringMatching(
        /1 thing is wrong in .*\n {2}series\.a\.prefx \(line 6\): .*did you mean prefix\?/,
      ),
      details: { issues: [expect.objectContaining({ path: "series.a.prefx" })] },
    });
  });
});
