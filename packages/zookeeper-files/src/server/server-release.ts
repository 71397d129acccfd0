/**
 * Releases of ZooKeeper by what they do with the files of a data directory. Each stands for itself and for those after
 * it that do the same: `3.8` for 3.8.0 to 3.8.3. `3.4` is 3.4.12 to 3.4.14. (3.7 and 3.8 do what 3.6 does; they are
 * listed because they are what people run.) Those of a distribution may do what later ones do: see `DANGLING_ACL_USED`.
 */
export const SERVER_RELEASES = [
  "3.4",
  "3.5.3",
  "3.5.4",
  "3.5.6",
  "3.5.7",
  "3.6",
  "3.7",
  "3.8",
  "3.8.4",
  "3.8.5",
  "3.9",
  "3.9.2",
  "3.9.3",
  "3.9.4",
] as const;

/** One of {@link SERVER_RELEASES}. */
export type ServerRelease = (typeof SERVER_RELEASES)[number];

/** The last release that each stands for; the last one stands for all later ones. */
const LAST: Readonly<Record<ServerRelease, string>> = {
  "3.4": "3.4",
  "3.5.3": "3.5.3",
  "3.5.4": "3.5.5",
  "3.5.6": "3.5.6",
  "3.5.7": "3.5",
  "3.6": "3.6",
  "3.7": "3.7",
  "3.8": "3.8.3",
  "3.8.4": "3.8.4",
  "3.8.5": "3.8",
  "3.9": "3.9.1",
  "3.9.2": "3.9.2",
  "3.9.3": "3.9.3",
  "3.9.4": "3.9.4 and later",
};

/**
 * Which of {@link SERVER_RELEASES} a server of the given version behaves like, such as `3.8.4` or what the server says
 * of itself, `3.8.4-d2c7b8e`. Null for 3.4.11 and older, the alphas before 3.5.3, and what is no version.
 */
export function serverRelease(version: string): ServerRelease | null {
  const [, major, minor, patch] = /^(\d+)\.(\d+)(?:\.(\d+))?(?![\d.])/.exec(version) ?? [];
  if (major === undefined || minor === undefined) return null;
  const rank = rankOf(Number(major), Number(minor), Number(patch ?? 0));
  if (patch !== undefined && rank < rankOf(3, 4, 12)) return null;
  const found = SERVER_RELEASES.findLast((release) => {
    const [first = 0, second = 0, third = 0] = release.split(".").map(Number);
    return rankOf(first, second, third) <= rank;
  });
  // The alphas of 3.5 come after 3.4 and are not like it.
  return found === "3.4" && Number(minor) !== 4 ? null : (found ?? null);
}

function rankOf(major: number, minor: number, patch: number): number {
  return (major * 1000 + minor) * 1000 + patch;
}

/** Whether `release` is `first` or a later one. (What was put into two lines at once is asked with both.) */
export function isSince(release: ServerRelease, first: ServerRelease): boolean {
  return SERVER_RELEASES.indexOf(release) >= SERVER_RELEASES.indexOf(first);
}

/** Neighbours in {@link SERVER_RELEASES} in words: `3.4`, `3.5.7 to 3.8.4`, `3.9.4 and later`, `all releases`. */
export function releaseRange(first: ServerRelease, last: ServerRelease): string {
  if (first === SERVER_RELEASES[0] && last === SERVER_RELEASES.at(-1)) return "all releases";
  if (last === SERVER_RELEASES.at(-1)) return `${first} and later`;
  return first === LAST[last] ? first : `${first} to ${LAST[last]}`;
}
