import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { randomUUID } from "node:crypto";
import { access, readdir } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { openSeries } from "@zk-backyp/core";
import { createFsSink } from "@zk-backyp/sink-fs";
import { createZooKeeperSource, type NodeControlOptions } from "../src/index.ts";
import type { SupervisedNode } from "./cold-kill-node.ts";
import type { ColdRunEnd, ColdRunLine, ColdRunPlan, HelperPlan, Moment } from "./cold-kill-plan.ts";
import { listProcesses } from "./cold-kill-processes.ts";

/** How long a node may take until it is back where something lives that sees to it. */
export const BACK_WITHIN_MS = 45_000;

/** How long a stop may take: a run that stands still outlasts this, and the half minute that its guard adds. */
const STANDSTILL_STOP_TIMEOUT_MS = 8_000;
const STOP_TIMEOUT_MS = 20_000;

/** A run of `cold-run.ts`. */
export interface ColdRun {
  readonly child: ChildProcess;
  /** What it has come to so far. */
  readonly moments: readonly Moment[];
  readonly ended: Promise<EndedRun>;
}

interface EndedRun {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  /** Null where it could not say anything any more. */
  readonly end: ColdRunEnd | null;
  /** All of it, for a message. */
  readonly text: string;
}

/** What a node goes through in one test. */
export class Ordeal {
  readonly node: SupervisedNode;
  readonly journal: string;
  readonly stayStoppedFile: string;
  readonly #control: NodeControlOptions;
  readonly #backups: string;
  // What it starts has this in its environment, and so has what that starts.
  readonly #mark: string = randomUUID();
  readonly #socket: string;
  #helper: ChildProcess | null = null;

  constructor(node: SupervisedNode, { withHelper = false }: { readonly withHelper?: boolean } = {}) {
    this.node = node;
    this.journal = join(node.dataDir, ".zk-backyp", "stop.json");
    this.stayStoppedFile = join(node.folder, "stay-stopped");
    this.#backups = join(node.folder, `backups-${this.#mark}`);
    this.#socket = join(node.folder, "helper.sock");
    this.#control = withHelper ? { use: "helper", socket: this.#socket } : node.control;
  }

  /** Begins a run, which is struck if that is wanted. */
  start(what: ColdRunPlan["do"], strike?: ColdRunPlan["strike"]): ColdRun {
    const { folder, dataDir, server, stoppingFile } = this.node;
    const standsStill = strike?.blows.includes("SIGSTOP") === true;
    const plan: ColdRunPlan = {
      do: what,
      folder,
      dataDir,
      server,
      cold: {
        control: this.#control,
        allowStandalone: true,
        stopTimeoutMs: standsStill ? STANDSTILL_STOP_TIMEOUT_MS : STOP_TIMEOUT_MS,
        startTimeoutMs: 60_000,
        stayStoppedFile: this.stayStoppedFile,
      },
      backups: this.#backups,
      stoppingFile,
      ...(strike === undefined ? {} : { strike }),
    };
    const child = this.#spawn(new URL("cold-run.ts", import.meta.url), plan);
    const moments: Moment[] = [];
    let end: ColdRunEnd | null = null;
    let text = "";
    let rest = "";
    child.stderr?.on("data", (chunk) => {
      text += chunk;
    });
    child.stdout?.on("data", (chunk) => {
      text += chunk;
      const lines = `${rest}${chunk}`.split("\n");
      rest = lines.pop() ?? "";
      for (const line of lines.map((json) => JSON.parse(json) as ColdRunLine)) {
        if ("end" in line) end = line.end;
        else moments.push(line.moment);
      }
    });
    const ended = new Promise<EndedRun>((resolve, reject) => {
      child.once("error", reject);
      child.once("close", (code, signal) => resolve({ code, signal, end, text: `${code ?? signal}: ${text}` }));
    });
    return { child, moments, ended };
  }

  /** Has a run come to a good end. */
  async run(what: ColdRunPlan["do"]): Promise<ColdRunEnd> {
    for (let tries = 0; ; tries += 1) {
      const { code, end, text } = await this.start(what).ended;
      if (end !== null && code === 0) return end;
      // A helper that is still recovering says so.
      assert.ok(this.#helper !== null && end?.code === "ERR_BUSY" && tries < 20, `${what} failed: ${text}`);
      await sleep(1_000);
    }
  }

  /** The ids of the backups that there are, all of which are whole. */
  async verifyAll(): Promise<string[]> {
    if (!(await isThere(this.#backups))) return [];
    const sink = createFsSink({ path: this.#backups });
    const series = openSeries({ prefix: "cold", source: createZooKeeperSource(), sink });
    const ids = [...(await series.catalog.ids())];
    for (const id of ids) await series.verify(id);
    return ids;
  }

  /** The next run is a good one, and nothing is left of the one before. */
  async nextRunClearsUp(): Promise<void> {
    const before = await this.verifyAll();
    const { code, id, facts } = await this.run("backup");
    assert.equal(code, "stored");
    assert.notEqual((facts as { downtime: unknown }).downtime, null, "the node was stopped for it");
    assert.deepEqual(await this.verifyAll(), [...before, id]);
    await this.node.untilBack(BACK_WITHIN_MS);
    const left = await readdir(join(this.node.dataDir, ".zk-backyp")).catch(() => []);
    assert.deepEqual(
      left.filter((name) => name !== "guard.log"),
      [],
    );
  }

  /** Resolves when the helper is ready; one that was killed before is replaced. */
  async startHelper(): Promise<void> {
    const { folder, control } = this.node;
    const plan: HelperPlan = {
      socket: this.#socket,
      control,
      folder,
      stateDir: join(folder, "helper-state"),
      stayStoppedFile: this.stayStoppedFile,
    };
    const child = this.#spawn(new URL("cold-kill-helper.ts", import.meta.url), plan);
    this.#helper = child;
    let stderr = "";
    child.stderr?.on("data", (chunk) => {
      stderr += chunk;
    });
    await new Promise<void>((resolve, reject) => {
      child.stdout?.once("data", () => resolve());
      child.once("exit", () => reject(new Error(`the helper ended: ${stderr}`)));
    });
  }

  /** Resolves when the helper is gone: killed by a blow, or told to end here. */
  async helperEnds({ isTold }: { readonly isTold: boolean }): Promise<void> {
    const helper = this.#helper;
    if (helper === null || helper.exitCode !== null || helper.signalCode !== null) return;
    if (isTold) helper.kill("SIGTERM");
    await new Promise((resolve) => helper.once("exit", resolve));
  }

  /** Fails unless the runs, guards, helpers, and all that they have started, are gone soon. */
  async untilNoProcessIsLeft(): Promise<void> {
    let left: string[] = [];
    for (let tries = 0; tries < 300; tries += 1) {
      left = listProcesses()
        .filter(({ environment }) => environment.includes(this.#mark))
        .map(({ pid, commandLine }) => `${pid}: ${commandLine.replaceAll("\0", " ").slice(-200)}`);
      if (left.length === 0) return;
      await sleep(100);
    }
    assert.deepEqual(left, []);
  }

  #spawn(program: URL, plan: ColdRunPlan | HelperPlan): ChildProcess {
    return spawn(process.execPath, [fileURLToPath(program), JSON.stringify(plan)], {
      stdio: ["pipe", "pipe", "pipe"],
      env: { ...process.env, ZK_BACKYP_TEST: this.#mark },
    });
  }
}

export function isThere(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  );
}
