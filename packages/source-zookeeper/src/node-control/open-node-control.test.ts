import { parseWith } from "@zk-backyp/core";
import { describe, expect, it } from "vitest";
import { nodeControlSchema, openNodeControl } from "./open-node-control.ts";

const url = "http://127.0.0.1:2822";
const command = { use: "command", start: ["true"], stop: ["true"], status: ["true"] };

describe("the options of a control", () => {
  it.each([
    { use: "monit", service: "zookeeper" },
    { use: "monit", service: "zookeeper", command: ["/var/vcap/bosh/bin/monit"] },
    { use: "monit", service: "zookeeper-1.a", command: ["monit", "-c", "monitrc"] },
    { use: "monit", service: "zookeeper", url, credentialsFile: "monit.user" },
    { use: "monit", service: "zookeeper", url: "https://monit.example/base/" },
    { use: "systemd", unit: "zookeeper" },
    { use: "systemd", unit: "zookeeper@1.service", user: true },
    command,
    { ...command, start: ["zkServer.sh", "start", ""], pidFile: "/run/zookeeper.pid", timeoutMs: 60_000 },
  ])("can be %j", (options) => {
    expect(parseWith(nodeControlSchema, options, "control")).toEqual(options);
  });

  it.each([
    [null, /control: /],
    [{}, /use/],
    [{ use: "runit", service: "zookeeper" }, /use/],
    [{ use: "monit" }, /service/],
    [{ use: "monit", service: "" }, /service: is no name of a service/],
    [{ use: "monit", service: "all" }, /service: would be all services/],
    [{ use: "monit", service: "ALL" }, /service: would be all services/],
    [{ use: "monit", service: "-g" }, /service: is no name of a service/],
    [{ use: "monit", service: "_runtime" }, /service: is no name of a service/],
    [{ use: "monit", service: "../zookeeper" }, /service: is no name of a service/],
    [{ use: "monit", service: "zookeeper\n" }, /service: is no name of a service/],
    [{ use: "monit", service: "zookeeper", command: [] }, /command/],
    [{ use: "monit", service: "zookeeper", command: ["monit", "a\0b"] }, /command.1: holds a NUL/],
    [{ use: "monit", service: "zookeeper", command: "monit" }, /command/],
    [{ use: "monit", service: "zookeeper", command: ["monit"], url }, /url: and command exclude each other/],
    [{ use: "monit", service: "zookeeper", credentialsFile: "monit.user" }, /credentialsFile: needs url beside it/],
    [{ use: "monit", service: "zookeeper", url: "127.0.0.1:2822" }, /url: is no http/],
    [{ use: "monit", service: "zookeeper", url: "unix:/run/monit" }, /url: is no http/],
    [{ use: "monit", service: "zookeeper", url: "http://vcap:secret@127.0.0.1" }, /url: has a user, a password/],
    [{ use: "monit", service: "zookeeper", unit: "zookeeper" }, /unit/],
    [{ use: "systemd" }, /unit/],
    [{ use: "systemd", unit: "" }, /unit: is no name of a unit/],
    [{ use: "systemd", unit: "zoo*" }, /unit: is no name of a unit/],
    [{ use: "systemd", unit: "--all" }, /unit: is no name of a unit/],
    [{ use: "systemd", unit: "a b" }, /unit: is no name of a unit/],
    [{ use: "systemd", unit: "zookeeper\n" }, /unit: is no name of a unit/],
    [{ ...command, stop: undefined }, /stop/],
    [{ ...command, status: [""] }, /status.0: is empty/],
    [{ ...command, timeoutMs: 10 }, /timeoutMs: is less than a second/],
    [{ ...command, pidFile: "" }, /pidFile: is empty/],
  ])("cannot be %j", (options, message) => {
    expect(() => parseWith(nodeControlSchema, options, "control")).toThrow(message);
    expect(() => parseWith(nodeControlSchema, options, "control")).toThrow(
      expect.objectContaining({ code: "ERR_CONFIG_INVALID" }),
    );
  });

  it("never show a password that stands in the url", () => {
    const options = { use: "monit", service: "zookeeper", url: "http://vcap:secret@127.0.0.1" };
    expect(() => parseWith(nodeControlSchema, options, "control")).not.toThrow(/secret/);
  });
});

describe("openNodeControl", () => {
  it.each([
    [["no-such-program-here"], /there is no no-such-program-here on the PATH; name its absolute path/],
    [["./monit"], /\/no\/such\/folder\/monit is no program that may be run/],
    [["/etc"], /\/etc is no program that may be run/],
    [["/etc/passwd"], /\/etc\/passwd is no program that may be run/],
  ] as const)("refuses the program %j", (program, message) => {
    const open = (): unknown =>
      openNodeControl({ use: "monit", service: "zookeeper", command: program }, "/no/such/folder");
    expect(open).toThrow(message);
    expect(open).toThrow(expect.objectContaining({ code: "ERR_CONFIG_INVALID" }));
  });

  it("finds programs by their absolute paths, once and for all", () => {
    const options = { use: "monit", service: "zookeeper", command: ["sh", "-c"] } as const;
    const [program, ...rest] = openNodeControl(options, "/").startCommand ?? [];
    expect(program).toMatch(/^\/.*\/sh$/);
    expect(rest).toEqual(["-c", "start", "zookeeper"]);
  });
});
