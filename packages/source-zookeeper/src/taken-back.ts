/**
 * The logs that a server took back: a follower that finds that its newest transactions were never agreed on cuts them off,
 * by deleting newer logs while older ones stay, or by beginning one of them anew. A purge does neither: it takes the
 * oldest, and never gives a name again.
 *
 * @param logs oldest first
 * @param nameOf what has become of a log's name
 */
export async function* takenBack<Log>(
  logs: Iterable<Log>,
  nameOf: (log: Log) => Promise<"kept" | "replaced" | "gone">,
): AsyncGenerator<Log, void, void> {
  let olderIsKept = false;
  for (const log of logs) {
    const name = await nameOf(log);
    if (name === "kept") olderIsKept = true;
    if (name === "replaced" || (name === "gone" && olderIsKept)) yield log;
  }
}
