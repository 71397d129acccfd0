import { type ErrorCode, withCode } from "@zk-backyp/core";
import type { RunError } from "./daemon-view.ts";

/** What to do about an error whose message does not say it already: for who looks at a list of what went wrong. */
const remedies: Readonly<Record<ErrorCode, string>> = {
  ERR_ABORTED: "Nothing: it was stopped on purpose and begins again with the next run.",
  ERR_BUSY: "Nothing, if it goes away by itself: another run was under way.",
  ERR_HELD: "Nothing: it begins by itself when the hold is over; `zk-backyp release` ends that at once.",
  ERR_SLOT_TAKEN: "Nothing: another daemon has stored this backup.",
  ERR_NOT_ELECTED: "Nothing, if another node backs up. Else look at the election of each daemon.",
  ERR_CONFIG_INVALID: "Correct the configuration, try it with `zk-backyp check`, and reload the daemon (SIGHUP).",
  ERR_PLUGIN_NOT_FOUND: "Install the plugin beside the configuration file with npm, and restart the daemon.",
  ERR_PLUGIN_INVALID: "Install a release of the plugin that fits this one, and restart the daemon.",
  ERR_SOURCE_UNAVAILABLE:
    "Look whether the server runs and whether this user may read its files: `zk-backyp check` says.",
  ERR_SOURCE_CHANGED: "Nothing, if the next run is good: the files changed faster than they could be read.",
  ERR_SOURCE_DAMAGED:
    "The server's files are damaged on this node: look with `zk-backyp inspect DATADIR`, and back up another member.",
  ERR_NODE_CONTROL: "Look whether the supervisor answers and this user may use it: `zk-backyp check` says.",
  ERR_STOP_REFUSED: "Nothing was stopped, since that would do harm now: mend what the message names, or back up hot.",
  ERR_NODE_DOWN: "Look at the server at once: run `zk-backyp recover`, and if that fails start it by hand.",
  ERR_SINK_UNAVAILABLE: "Look whether the store can be reached from here: `zk-backyp check` says.",
  ERR_SINK_NOT_FOUND: "Create the bucket or the directory, or correct its name in the configuration.",
  ERR_SINK_DENIED: "Give the credentials the rights that the message names: `zk-backyp check` tries each of them.",
  ERR_SINK_FULL: "Make room in the store, or let `retention` keep less.",
  ERR_OBJECT_NOT_FOUND: "Somebody has deleted it from the store.",
  ERR_OBJECT_EXISTS: "Look who else writes there: two series need two prefixes.",
  ERR_BACKUP_NOT_FOUND: "Look at the list of backups: it may have been pruned.",
  ERR_BACKUP_DAMAGED: "It was kept although it was damaged: restore another one.",
  ERR_ARCHIVE_CORRUPT: "Do not restore this backup. Look at the store's health, and take a new one.",
  ERR_CHECKSUM_MISMATCH: "Do not restore this backup. Look at the store's health, and take a new one.",
  ERR_MANIFEST_INVALID: "The backup cannot be used as it is. Look who has changed its manifest, and take a new one.",
  ERR_MANIFEST_UNSUPPORTED: "Upgrade this program: a newer release has written the backup.",
  ERR_TARGET_IN_USE: "Stop the server, then restore.",
  ERR_TARGET_NOT_EMPTY: "Name an empty directory.",
  ERR_TARGET_UNAVAILABLE: "Look whether the directory can be written.",
  ERR_REHEARSAL_FAILED: "Do not restore this backup; look at it with `zk-backyp verify --deep`.",
  ERR_REHEARSAL_UNAVAILABLE: "Install what the message names.",
  ERR_DAEMON_UNAVAILABLE: "Look whether the daemon runs, and where it listens.",
  ERR_INTERNAL: "This was not foreseen: report it with the log of this run.",
};

/** Longer messages come from somebody who has put data into them. */
const MOST_CHARS = 4_000;

/** As much of a message as a list, a log and a state file can take. */
export function cut(message: string): string {
  return message.length <= MOST_CHARS ? message : `${message.slice(0, MOST_CHARS)}... (${message.length} characters)`;
}

/** What is told of a failure. */
export function runErrorOf(cause: unknown): RunError {
  const { code, message: whole } = withCode(cause);
  const message = cut(whole);
  return { code, message, remedy: remedies[code] ?? remedies.ERR_INTERNAL };
}
