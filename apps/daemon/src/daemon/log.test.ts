import { BackypError } from "@zk-backyp/core";
import { describe, expect, it } from "vitest";
import { withSecrets } from "../secrets.ts";
import { createDaemonLogger } from "./log.ts";

function capture(isTerminal: boolean): { lines: () => string[]; logger: ReturnType<typeof createDaemonLogger> } {
  let text = "";
  const write = (chunk: string): void => {
    text += chunk;
  };
  return {
    lines: () => text.split("\n").filter((line) => line !== ""),
    logger: createDaemonLogger("info", write, isTerminal),
  };
}

describe("the log", () => {
  it("is one JSON document for each event", () => {
    const { lines, logger } = capture(false);
    logger.child({ series: "zk" }).info({ event: "run.start", runId: "1" }, "backup begins");
    logger.debug({}, "not said");
    const err = new BackypError("ERR_SINK_FULL", "no space\nleft", { details: { path: "/backups" } });
    logger.error({ event: "run.end", err }, "backup failed");
    const [first, second] = lines().map((line) => JSON.parse(line));
    expect(lines()).toHaveLength(2);
    expect(first).toMatchObject({ level: "info", series: "zk", event: "run.start", runId: "1", msg: "backup begins" });
    expect(Number.isNaN(Date.parse(first.time))).toBe(false);
    expect(second).toMatchObject({ level: "error", err: { code: "ERR_SINK_FULL", message: "no space\nleft" } });
  });

  it.each([true, false])("shows no secret, wherever it comes from (terminal: %s)", (isTerminal) => {
    process.env.ZK_BACKYP_TEST_SECRET = 'hunter2"\\quoted';
    const secret = withSecrets({ env: "ZK_BACKYP_TEST_SECRET" }, "/", "test");
    const { lines, logger } = capture(isTerminal);
    logger.warn({ event: "x", err: new Error(`refused ${secret}`), url: `https://h/?k=${secret}` }, `with ${secret}`);
    const text = lines().join("\n");
    expect(text).toContain("[secret]");
    expect(text).not.toContain("hunter2");
  });

  it("is for people on a terminal", () => {
    const { lines, logger } = capture(true);
    logger.info({ event: "run.start", series: "zk" }, "backup begins");
    expect(lines()[0]).toMatch(/INFO.*backup begins/);
    expect(lines().join()).not.toContain('"msg"');
  });
});
