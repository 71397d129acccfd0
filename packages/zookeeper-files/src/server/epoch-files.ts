import type { Problem } from "../problem.ts";
import { epochOf, formatZxid } from "../zxid.ts";
import type { ServerRelease } from "./server-release.ts";

/** What the files that hold a member's epochs say, byte for byte; null where there is none. */
export interface EpochFiles {
  readonly currentEpoch: string | null;
  readonly acceptedEpoch: string | null;
  /** What an interrupted rewrite of `currentEpoch` left. */
  readonly currentEpochTmp: string | null;
  /** 3.4: a new epoch was about to be written. */
  readonly updatingEpoch: boolean;
}

/** What a member of an ensemble makes of its epoch files once it has loaded data up to `zxid`. Null: it starts. */
export function epochRefusal(files: EpochFiles, zxid: bigint, release: ServerRelease): Problem | null {
  const epoch = epochOf(zxid);
  let current = files.currentEpoch === null ? epoch : parseEpoch(files.currentEpoch);
  if (current === null) return unreadable("currentEpoch");
  const finishesRewrite = files.currentEpoch !== null && epoch > current;
  if (finishesRewrite && release === "3.4" && files.updatingEpoch) {
    current = epoch;
  } else if (finishesRewrite && release !== "3.4" && files.currentEpochTmp !== null) {
    current = parseEpoch(files.currentEpochTmp);
    if (current === null) return unreadable("currentEpoch.tmp");
  } else if (epoch > current) {
    const message =
      `it says ${current}, but the data goes up to ${formatZxid(zxid)}, of epoch ${epoch}: a member of an ensemble does ` +
      "not start. Remove currentEpoch and acceptedEpoch, both, and the server writes them anew";
    return fatal("EPOCH_OLDER_THAN_DATA", "currentEpoch", message);
  }
  const accepted = files.acceptedEpoch === null ? epoch : parseEpoch(files.acceptedEpoch);
  if (accepted === null) return unreadable("acceptedEpoch");
  if (accepted >= current) return null;
  const isAlone = files.acceptedEpoch === null;
  const message =
    `${isAlone ? `there is no acceptedEpoch, and the server makes one of ${accepted}` : `it says ${accepted}`}, which is ` +
    `less than the current epoch ${current}: a member of an ensemble does not start. Remove both epoch files`;
  return fatal("EPOCHS_CONFLICT", isAlone ? "currentEpoch" : "acceptedEpoch", message);
}

/**
 * The epoch of an otherwise empty member, if it has one above 0: by that alone it may win an election over members with
 * data, which then throw theirs away.
 */
export function epochOfNothing(files: EpochFiles): bigint | null {
  const epoch = files.currentEpoch === null ? null : parseEpoch(files.currentEpoch);
  return epoch === null || epoch <= 0n ? null : epoch;
}

export function epochWithoutDataMessage(epoch: bigint): string {
  return (
    `there is no data, but currentEpoch says ${epoch}: such a member may win an election over members with data, which ` +
    "then throw theirs away. Remove currentEpoch and acceptedEpoch, both"
  );
}

/** The number in the first line, as Java reads it: no blanks. */
function parseEpoch(text: string): bigint | null {
  const [line = ""] = text.split(/\r\n|\n|\r/, 1);
  if (!/^[+-]?[0-9]+$/.test(line)) return null;
  const value = BigInt(line.replace("+", ""));
  return BigInt.asIntN(64, value) === value ? value : null;
}

function unreadable(file: string): Problem {
  const message =
    "it does not hold one decimal number without blanks: a member of an ensemble does not start. Remove currentEpoch and " +
    "acceptedEpoch, both, and the server writes them anew";
  return fatal("EPOCH_UNREADABLE", file, message);
}

function fatal(code: string, file: string, message: string): Problem {
  return { severity: "fatal", code, file, offset: null, message };
}
