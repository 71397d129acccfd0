import { createHash } from "node:crypto";
import { mkdtemp, readdir, readFile, rm, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { timeOfBackupId } from "@zk-backyp/core";
import { runCli } from "./run-cli.ts";
import { type Place, SESSION_TIMEOUT_MS, startThreeDaemons, type ThreeDaemons } from "./three-daemons.ts";

/** A slot of the schedule, in seconds. */
const SLOT_S = 3;

/** What went on. */
export interface FailoverReport {
  readonly rounds: number;
  readonly faults: Readonly<Record<string, number>>;
  readonly backups: number;
  /** The longest time in ms between two backups that followed each other. */
  readonly longestGapMs: number;
  /** Backups whose manifest was seen with two contents: somebody published over somebody else. */
  readonly replaced: readonly string[];
  /** Ids that are no slot of the schedule. */
  readonly besideSlots: readonly string[];
  /** How runs ended, over all daemons. */
  readonly outcomes: Readonly<Record<string, number>>;
  /** What `verify --all` said, and its exit code. */
  readonly verified: { readonly code: number | null; readonly stderr: string };
}

/** What was the longest gap that is right: the session of who holds it ends, the next slot comes, and a run takes its time. */
export const LONGEST_GAP_MS: number = SESSION_TIMEOUT_MS + SLOT_S * 1000 + SLOT_S * 1000;

/**
 * Has three daemons back up every three seconds, and in each round does something to one of them, mostly to the elected
 * one: kills it, has it sleep and wake up again, cuts it off. A round is over when there is a backup of a later slot.
 */
export async function failoverRounds(rounds: number, seed: number): Promise<FailoverReport> {
  const folder = await mkdtemp(join(tmpdir(), "zk-backyp-failover-"));
  const random = randomFrom(seed);
  const three = await startThreeDaemons(folder, { cron: `*/${SLOT_S} * * * * *` });
  const faults: Record<string, number> = {};
  const seen = watchManifests(join(three.sink, three.prefix, "manifests"));
  try {
    await untilBackupAfter(three, Date.now());
    for (let round = 0; round < rounds; round++) {
      const elected = three.places.find((place) => place.isElected());
      const anyone = three.places[Math.floor(random() * three.places.length)] as Place;
      const victim = random() < 0.75 ? (elected ?? anyone) : anyone;
      // At any instant of a slot.
      await sleep(random() * SLOT_S * 1000);
      const name = await hurt(victim, random);
      faults[name] = (faults[name] ?? 0) + 1;
      await untilBackupAfter(three, Date.now());
    }
    await Promise.all(three.places.map(({ daemon }) => daemon.stop()));
    const { replaced, times } = await seen.end();
    const ids = [...times.keys()];
    const published = [...times.values()].sort((one, other) => one - other);
    const gaps = published.slice(1).map((time, index) => time - (published[index] ?? time));
    const outcomes: Record<string, number> = {};
    for (const line of three.places.flatMap(({ daemons }) => daemons.flatMap((daemon) => daemon.lines()))) {
      if (line.event === "run.end") outcomes[String(line.outcome)] = (outcomes[String(line.outcome)] ?? 0) + 1;
    }
    const { code, stderr } = await runCli(["verify", "--all", "--from", three.sink, "--prefix", three.prefix]);
    return {
      rounds,
      faults,
      backups: ids.length,
      longestGapMs: Math.max(0, ...gaps),
      replaced,
      besideSlots: ids.filter((id) => (timeOfBackupId(id) ?? 1) % (SLOT_S * 1000) !== 0),
      outcomes,
      verified: { code, stderr },
    };
  } finally {
    await seen.end();
    await three.close();
    await rm(folder, { recursive: true, force: true });
  }
}

/** Does one thing to a daemon and undoes it; resolves to what it was. */
async function hurt(place: Place, random: () => number): Promise<string> {
  const ms = 200 + random() * SESSION_TIMEOUT_MS * 2;
  const choice = random();
  if (choice < 0.34) {
    place.daemon.kill("SIGKILL");
    await place.daemon.ended;
    await sleep(ms / 2);
    place.start();
    return "killed";
  }
  if (choice < 0.67) {
    place.daemon.kill("SIGSTOP");
    await sleep(ms);
    place.daemon.kill("SIGCONT");
    return "paused";
  }
  const how = random() < 0.5 ? "closed" : "silent";
  place.cut(how);
  await sleep(ms);
  place.heal();
  return `cut off, ${how}`;
}

/** Resolves when there is a backup of a slot after `since`. */
async function untilBackupAfter({ sink, prefix, places }: ThreeDaemons, since: number): Promise<void> {
  for (const deadline = Date.now() + 60_000; Date.now() < deadline; await sleep(100)) {
    const names = await readdir(join(sink, prefix, "manifests")).catch(() => []);
    const isNew = (name: string): boolean => (timeOfBackupId(name.replace(/\.json$/, "")) ?? 0) > since;
    if (names.some((name) => name.endsWith(".json") && isNew(name))) return;
  }
  const logs = places.map(({ daemons }) => daemons.map((daemon) => daemon.lines().slice(-15)));
  throw new Error(`nobody has backed up for a minute:\n${JSON.stringify(logs, null, 1)}`);
}

interface Watch {
  /** Stops, and resolves to when each backup was published, and which manifests have changed since they were seen first. */
  end(): Promise<{ readonly times: ReadonlyMap<string, number>; readonly replaced: readonly string[] }>;
}

function watchManifests(directory: string): Watch {
  const first = new Map<string, { readonly hash: string; readonly time: number }>();
  const replaced = new Set<string>();
  const over = new AbortController();
  const look = async (): Promise<void> => {
    for (const name of await readdir(directory).catch(() => [])) {
      if (!name.endsWith(".json")) continue;
      const path = join(directory, name);
      const hash = createHash("sha256")
        .update(await readFile(path))
        .digest("hex");
      const id = name.replace(/\.json$/, "");
      const known = first.get(id);
      if (known === undefined) first.set(id, { hash, time: (await stat(path)).mtimeMs });
      else if (known.hash !== hash) replaced.add(id);
    }
  };
  const watching = (async () => {
    while (!over.signal.aborted) {
      await look();
      await sleep(500, undefined, { signal: over.signal }).catch(() => {});
    }
    await look();
  })();
  return {
    async end() {
      over.abort();
      await watching;
      return { times: new Map([...first].map(([id, { time }]) => [id, time])), replaced: [...replaced] };
    },
  };
}

/** Mulberry32: the same numbers for the same seed. */
function randomFrom(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}
