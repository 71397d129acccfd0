import { realpath, stat } from "node:fs/promises";
import { dirname, resolve } from "node:path";
import { BackypError } from "@zk-backyp/core";

const WRITABLE_BY_OTHERS = 0o022;
/** In such a folder (`/tmp`) only the owner of a name may give it to something else. */
const STICKY = 0o1000;

/**
 * Refuses a file that somebody else than root and this process's user can write, or put another one in the place of:
 * what a privileged process does must not be for others to say.
 *
 * @returns its path without symbolic links, which is the one that was checked
 * @throws BackypError `ERR_CONFIG_INVALID`
 */
export async function requireOwnFile(path: string): Promise<string> {
  try {
    const real = await realpath(resolve(path));
    for (let place = real; ; place = dirname(place)) {
      const { uid, mode } = await stat(place);
      const isShared = place !== real && (mode & STICKY) !== 0;
      if (uid !== 0 && uid !== process.geteuid?.()) throw refused(real, place, `belongs to uid ${uid}`);
      if ((mode & WRITABLE_BY_OTHERS) !== 0 && !isShared) {
        throw refused(real, place, `can be written by its group or by everybody (mode ${(mode & 0o7777).toString(8)})`);
      }
      if (dirname(place) === place) return real;
    }
  } catch (cause) {
    if (cause instanceof BackypError) throw cause;
    throw new BackypError("ERR_CONFIG_INVALID", `cannot read ${path}: ${(cause as Error).message}`, { cause });
  }
}

function refused(file: string, place: string, why: string): BackypError {
  const what = place === file ? file : `${place}, where ${file} lies,`;
  return new BackypError(
    "ERR_CONFIG_INVALID",
    `${what} ${why}, so that others could say what is done here: give it to root, or to the user that runs this, alone (chown, chmod go-w)`,
    { details: { path: place } },
  );
}
