import { stat } from "node:fs/promises";
import { BackypError, systemErrorCode } from "@zk-backyp/core";

/**
 * Refuses a folder that others than its owner may write to: they could put something else in the place of what is made
 * there.
 *
 * @throws BackypError `ERR_CONFIG_INVALID`
 */
export async function requireOwnFolder(folder: string): Promise<void> {
  const stats = await stat(folder).catch((cause: unknown) => {
    // It is made with the right mode when it is needed.
    if (systemErrorCode(cause) === "ENOENT") return null;
    throw cause;
  });
  if (stats === null) return;
  const own = process.getuid?.() ?? 0;
  const isOurs = stats.uid === own || stats.uid === 0;
  if (isOurs && (stats.mode & 0o022) === 0) return;
  throw new BackypError(
    "ERR_CONFIG_INVALID",
    `others may write into ${folder}, where the helper works with its own rights; name a folder that only its user may write to`,
    { details: { path: folder } },
  );
}
