// Freezes a data directory, and says as JSON what came of it. A process of its own, as it runs as another user, or sees
// other mounts, than the tests do: `freeze-process.ts dataDir [linkDir]`.
import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { isBackypError } from "@zk-backyp/core";
import { openFreeze } from "../src/cold/freeze.ts";

const [, , dataDir = "", linkDir] = process.argv;
const version2 = join(dataDir, "version-2");
const location = { dataDir, snapshots: version2, logs: version2, zooCfg: null, server: null };
const options = { run: "tested", signal: new AbortController().signal, ...(linkDir === undefined ? {} : { linkDir }) };
let outcome: unknown;
try {
  const freeze = await openFreeze(location, options);
  try {
    await freeze.warm();
    outcome = await freeze.complete();
  } finally {
    await freeze.drop();
  }
} catch (error) {
  outcome = isBackypError(error) ? { code: error.code, message: error.message } : { message: String(error) };
}
const left = [...(await readdir(dataDir)), ...(linkDir === undefined ? [] : await readdir(linkDir))];
process.stdout.write(JSON.stringify({ outcome, left }));
