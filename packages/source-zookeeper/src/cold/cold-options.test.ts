import { isBackypError } from "@zk-backyp/core";
import { describe, expect, it } from "vitest";
import { createZooKeeperSource, type ZooKeeperSourceOptions } from "../index.ts";
import type { Location } from "../locate.ts";
import type { NodeControl } from "../node-control/node-control.ts";
import { coldNode } from "./cold-node.ts";
import { COLD_DEFAULTS } from "./cold-options.ts";

const nothing = async (): Promise<void> => {};
const control: NodeControl = {
  name: "a program's own control",
  stop: nothing,
  start: nothing,
  status: async () => ({ state: "running", pid: null }),
  startCommand: null,
  close: nothing,
};

function refusalOf(options: unknown): string {
  try {
    createZooKeeperSource(options as ZooKeeperSourceOptions);
  } catch (error) {
    if (isBackypError(error, "ERR_CONFIG_INVALID")) return error.message;
    throw error;
  }
  return "";
}
const refusalOfCold = (cold: unknown): string => refusalOf({ dataDir: "/data", server: "a:2181", mode: "cold", cold });

describe("the options of a cold backup", () => {
  it.each<[string, object]>([
    ["a supervisor", { control: { use: "monit", service: "zookeeper" } }],
    ["a control of a program's own", { control }],
    [
      "one with more in it",
      { control: { ...control, startCommand: ["/bin/start"], whyKeepStopped: async () => null, more: 1 } },
    ],
    [
      "all there are",
      {
        control,
        ifLeader: { handOver: ["/bin/hand-over", "now"] },
        maxSkippedRuns: 0,
        allowStandalone: true,
        members: ["b:2181", "3=c:2181"],
        stopTimeoutMs: 1_000,
        startTimeoutMs: 86_400_000,
        linkDir: "links",
        stateDir: "state",
        stayStoppedFile: "/stopped",
        lock: { path: "/a/b", auth: "user:pass:word" },
      },
    ],
    ["no lock", { control, lock: false }],
  ])("may be %s", (_, cold) => {
    expect(refusalOfCold(cold)).toBe("");
  });

  it.each<[string, unknown]>([
    ["cold", 5],
    ["cold.control", {}],
    ["cold.control", { control: null }],
    ["cold.control", { control: "monit" }],
    ["cold.control.use", { control: {} }],
    ["cold.control.use", { control: { use: "docker" } }],
    ["cold.control.service", { control: { use: "monit", service: "all" } }],
    ["cold.control.service", { control: { use: "monit", service: "-x" } }],
    ["cold.control.unit", { control: { use: "systemd" } }],
    ["cold.control.start", { control: { use: "command", stop: ["x"], status: ["x"], start: [] } }],
    ["cold.control.stop", { control: { ...control, stop: undefined } }],
    ["cold.control.close", { control: { ...control, close: "x" } }],
    ["cold.control.name", { control: { ...control, name: undefined } }],
    ["cold.control.startCommand", { control: { ...control, startCommand: undefined } }],
    ["cold.control.startCommand", { control: { ...control, startCommand: [] } }],
    ["cold.ifLeader", { control, ifLeader: "wait" }],
    ["cold.ifLeader.handOver", { control, ifLeader: { handOver: [] } }],
    ["cold.ifLeader.handOver.0", { control, ifLeader: { handOver: [""] } }],
    ["cold.ifLeader", { control, ifLeader: { handOver: ["x"], more: 1 } }],
    ["cold.maxSkippedRuns", { control, maxSkippedRuns: -1 }],
    ["cold.maxSkippedRuns", { control, maxSkippedRuns: 1.5 }],
    ["cold.allowStandalone", { control, allowStandalone: "yes" }],
    ["cold.members", { control, members: [] }],
    ["cold.members.1", { control, members: ["a:1", "b"] }],
    ["cold.stopTimeoutMs", { control, stopTimeoutMs: 999 }],
    ["cold.stopTimeoutMs", { control, stopTimeoutMs: 86_400_001 }],
    ["cold.startTimeoutMs", { control, startTimeoutMs: "60s" }],
    ["cold.linkDir", { control, linkDir: "" }],
    ["cold.stateDir", { control, stateDir: "" }],
    ["cold.stayStoppedFile", { control, stayStoppedFile: "" }],
    ["cold.lock", { control, lock: true }],
    ["cold.lock.path", { control, lock: { path: "stop" } }],
    ["cold.lock.path", { control, lock: { path: "/a//b" } }],
    ["cold.lock.auth", { control, lock: { auth: "user" } }],
    ["nope", { control, nope: 1 }],
  ])("are refused by the name %s", (name, cold) => {
    const message = refusalOfCold(cold);
    expect(message).toMatch(/^the ZooKeeper source's options: /);
    expect(message).toContain(name);
  });

  it("never show a password where they are refused", () => {
    expect(refusalOfCold({ control, lock: { auth: "topsecret" } })).not.toContain("topsecret");
    expect(refusalOfCold({ control: { use: "monit", service: "zk", url: "http://u:topsecret@h:1" } })).not.toContain(
      "topsecret",
    );
  });

  it.each<[string, object, RegExp]>([
    ["a control", { dataDir: "/data", server: "a:2181" }, /mode: needs cold\.control/],
    ["the server's address", { dataDir: "/data", cold: { control } }, /mode: needs server or zooCfg/],
  ])("are needed for a cold backup: %s", (_, options, message) => {
    expect(refusalOf({ mode: "cold", ...options })).toMatch(message);
  });
});

describe("a cold node", () => {
  const location: Location = {
    dataDir: "/data",
    snapshots: "/data/version-2",
    logs: "/data/version-2",
    zooCfg: null,
    server: { host: "10.0.0.1", port: 2181 },
  };

  it("has the defaults, and a journal beside the data", () => {
    const node = coldNode({ cold: { control } }, location, control);
    expect(node).toMatchObject({
      name: "the node 10.0.0.1:2181 (a program's own control)",
      options: { ...COLD_DEFAULTS, stayStoppedFile: "/var/vcap/monit/stopped" },
      stateDir: "/data/.zk-backyp",
      port: { host: "10.0.0.1", port: 2181 },
    });
    expect(node.journal.path).toBe("/data/.zk-backyp/stop.json");
    expect(coldNode({ cold: { control, stateDir: "/state" } }, location, control).journal.path).toBe(
      "/state/stop.json",
    );
  });

  it("is kept stopped by a file, or else by what the control says", async () => {
    const { signal } = new AbortController();
    const masked = { ...control, whyKeepStopped: async () => "it is masked" };
    const why = (stayStoppedFile: string, by: NodeControl): Promise<string | null> =>
      coldNode({ cold: { control: by, stayStoppedFile } }, location, by).whyKeepStopped(signal);
    expect(await why(import.meta.filename, masked)).toBe(`${import.meta.filename} is there`);
    expect(await why("/no/such/file", masked)).toBe("it is masked");
    expect(await why("/no/such/file", control)).toBeNull();
  });

  it("is none without an address, or without a control", () => {
    expect(() => coldNode({ cold: { control } }, { ...location, server: null }, control)).toThrow(
      /say where, by server/,
    );
    expect(() => coldNode({}, location, control)).toThrow(/by cold\.control/);
  });
});
