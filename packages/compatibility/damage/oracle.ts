import { spawn, spawnSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

/** What a server's own classes did with a data directory. */
export type Answer =
  | {
      readonly loaded: true;
      readonly zxid: bigint;
      readonly nodes: number;
      readonly hash: string;
      readonly strays: number;
    }
  | { readonly loaded: false; readonly why: string };

/** Where a directory's logs and snapshots lie: what `dataLogDir` and `dataDir` would say. */
export interface Places {
  readonly logs: string;
  readonly snapshots: string;
}

/** A JVM with the classes of one release, which loads data directories as that release does at its start. */
export interface Oracle {
  readonly version: string;
  /** May write into the directory, as a server does. */
  start(places: Places, role: "standalone" | "ensemble"): Promise<Answer>;
  /** The state after each txn. Before 3.6 there are no tree digests. */
  history(places: Places): Promise<ReadonlyMap<bigint, { readonly hash: string; readonly digest: bigint | null }>>;
  /** Loads the directory and writes the state there as a snapshot. */
  save(places: Places): Promise<void>;
  close(): void;
}

const tool = (name: string): string => {
  const home = process.env.JAVA_HOME ?? "";
  return home === "" ? name : join(home, "bin", name);
};

/** What is missing for {@link startOracle}, or null. */
export function compilerMissing(): string | null {
  const { error, status } = spawnSync(tool("javac"), ["-version"], { stdio: "ignore" });
  return error === undefined && status === 0
    ? null
    : "javac not found: run `apt-get install --no-install-recommends default-jdk-headless`, or set JAVA_HOME";
}

/** `settings` are system properties of a server, such as `zookeeper.digest.enabled`. */
export async function startOracle(classPath: string, settings: Readonly<Record<string, string>> = {}): Promise<Oracle> {
  const classes = mkdtempSync(join(tmpdir(), "oracle-"));
  const source = fileURLToPath(new URL("Oracle.java", import.meta.url));
  const compiled = spawnSync(tool("javac"), ["-nowarn", "-d", classes, "-cp", classPath, source], { encoding: "utf8" });
  if (compiled.status !== 0) throw new Error(`javac failed: ${compiled.stderr}`);
  const properties = { "org.slf4j.simpleLogger.defaultLogLevel": "off", ...settings };
  const flags = Object.entries(properties).map(([name, value]) => `-D${name}=${value}`);
  // It ends with its input, so it does not outlive the tests.
  const java = spawn(tool("java"), ["-Xmx256m", ...flags, "-cp", `${classes}:${classPath}`, "Oracle"], {
    stdio: ["pipe", "pipe", "ignore"],
  });
  const lines = createInterface({ input: java.stdout })[Symbol.asyncIterator]();
  const ask = async (...words: string[]): Promise<string[]> => {
    java.stdin.write(`${words.join("\t")}\n`);
    const { value, done } = await lines.next();
    if (done === true) throw new Error(`java ended while it was asked to ${words.join(" ")}`);
    return value.split("\t");
  };
  const [version = ""] = await ask("version");
  return {
    version,
    start: async ({ logs, snapshots }, role) => {
      const [outcome, ...words] = await ask(role === "ensemble" ? "member" : "standalone", logs, snapshots);
      if (outcome !== "loaded") return { loaded: false, why: words.join(" ") };
      const [zxid = "", nodes, hash = "", strays] = words;
      return { loaded: true, zxid: BigInt(`0x${zxid}`), nodes: Number(nodes), hash, strays: Number(strays) };
    },
    history: async ({ logs, snapshots }) => {
      const states = await ask("history", logs, snapshots);
      if (states[0] === "refused") throw new Error(`no history: ${states.join(" ")}`);
      const entries = states.map((state) => state.split("="));
      return new Map(
        entries.map(([zxid, hash = "", digest = ""]) => {
          return [BigInt(`0x${zxid}`), { hash, digest: digest === "" ? null : BigInt(digest) }];
        }),
      );
    },
    save: async ({ logs, snapshots }) => {
      const words = await ask("save", logs, snapshots);
      if (words[0] !== "saved") throw new Error(`not saved: ${words.join(" ")}`);
    },
    close: () => {
      java.stdin.end();
      rmSync(classes, { recursive: true, force: true });
    },
  };
}
