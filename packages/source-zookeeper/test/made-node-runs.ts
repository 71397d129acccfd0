import { mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import {
  BackypError,
  type JsonObject,
  type Logger,
  type Manifest,
  openSeries,
  type Series,
  type Sink,
} from "@zk-backyp/core";
import { memorySink } from "@zk-backyp/core/testing";
import { type FixtureName, unpackFixture } from "@zk-backyp/testbed";
import { type ColdOptions, createZooKeeperSource } from "../src/index.ts";
import { MadeNode } from "./made-node.ts";

/** What one run came to. */
interface Outcome {
  readonly manifest: Manifest | null;
  readonly error: BackypError | null;
}

/** A made node with real files, and backups of it. */
export interface MadeNodeRuns {
  readonly folder: string;
  readonly dataDir: string;
  readonly dataLogDir: string;
  readonly stateDir: string;
  readonly node: MadeNode;
  readonly series: Series;
  /** All steps of all runs. */
  readonly steps: string[];
  /** Called at a step, before anything else happens. */
  at(step: string, act: (facts: JsonObject) => void): void;
  backUp(options?: { readonly signal?: AbortSignal; readonly allowDamaged?: boolean }): Promise<Outcome>;
  /** What is left of the run beside the data: folders of links, journals. */
  left(): Promise<string[]>;
}

export interface MadeNodeOptions {
  readonly cold?: Partial<ColdOptions> | ((folder: string) => Partial<ColdOptions>);
  readonly fixture?: FixtureName;
  readonly sink?: Sink;
  readonly logger?: Logger;
  readonly clock?: () => Date;
  /** Already running. A standalone one if not given. */
  readonly node?: MadeNode;
  /** Where to say what is to be done at the test's end. */
  onTestFinished(dispose: () => Promise<void>): void;
}

export async function makeNodeRuns(options: MadeNodeOptions): Promise<MadeNodeRuns> {
  const folder = await mkdtemp(join(tmpdir(), "zk-backyp-made-node-"));
  const node = options.node ?? (await MadeNode.start());
  const fixture = await unpackFixture(options.fixture ?? "zookeeper-3.8.0", folder);
  const { dataDir, dataLogDir } = fixture;
  const cold: ColdOptions = {
    control: node.control,
    allowStandalone: true,
    stopTimeoutMs: 5_000,
    startTimeoutMs: 5_000,
    stayStoppedFile: join(folder, "stay-stopped"),
    ...(typeof options.cold === "function" ? options.cold(folder) : options.cold),
  };
  const stateDir = cold.stateDir ?? join(dataDir, ".zk-backyp");
  const source = createZooKeeperSource({ dataDir, dataLogDir, server: node.server, mode: "cold", cold });
  const { sink = memorySink(), logger, clock } = options;
  const series = openSeries({
    prefix: "zk",
    source,
    sink,
    ...(logger === undefined ? {} : { logger }),
    ...(clock === undefined ? {} : { clock }),
  });
  options.onTestFinished(async () => {
    await node.fall();
    await rm(folder, { recursive: true, force: true });
  });

  const steps: string[] = [];
  const acts = new Map<string, (facts: JsonObject) => void>();
  series.events.on("backup:step", ({ step, facts }) => {
    steps.push(step);
    acts.get(step)?.(facts);
  });
  return {
    folder,
    dataDir,
    dataLogDir,
    stateDir,
    node,
    series,
    steps,
    at: (step, act) => {
      acts.set(step, act);
    },
    async backUp(runOptions) {
      try {
        return { manifest: await series.backup(runOptions), error: null };
      } catch (error) {
        if (!(error instanceof BackypError)) throw error;
        return { manifest: null, error };
      }
    },
    async left() {
      const places = new Set([
        stateDir,
        join(dataDir, ".zk-backyp"),
        join(dataLogDir, ".zk-backyp"),
        dirname(stateDir),
      ]);
      const names = await Promise.all([...places].map((place) => readdir(place).catch(() => [])));
      return names.flat().filter((name) => name.startsWith("links-") || name.startsWith("stop.json"));
    },
  };
}
