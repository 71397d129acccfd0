// verify-ours.mjs structure|digest SNAPSHOT, or replay SNAPSHOT LOG: one run of what is measured. Prints nodes and digest.
import { open } from "node:fs/promises";
import { basename } from "node:path";
import {
  checkSnapshot,
  createLogChecker,
  createReplay,
  parseFileName,
} from "../packages/zookeeper-files/dist/index.js";

const [level, snapshot, log] = process.argv.slice(2);

/** As the library itself reads files. */
async function* read(path) {
  const file = await open(path);
  const buffer = Buffer.allocUnsafe(1024 * 1024);
  for (;;) {
    const { bytesRead } = await file.read(buffer, 0, buffer.length);
    if (bytesRead === 0) break;
    yield buffer.subarray(0, bytesRead);
  }
  await file.close();
}

if (level === "structure") {
  const { nodes } = await checkSnapshot(read(snapshot));
  console.log(nodes);
} else {
  const replay = createReplay();
  const summary = await checkSnapshot(read(snapshot), replay.snapshotHooks);
  replay.snapshotEnd(parseFileName(basename(snapshot)).zxid, summary);
  if (level === "replay") {
    const checker = createLogChecker({ onRecord: replay.onRecord });
    for await (const chunk of read(log)) checker.push(chunk);
    checker.end();
  }
  const { nodes, digest, snapshotDigest, problems } = replay.finish();
  if (snapshotDigest !== "matched" || problems.length > 0) throw new Error(`not proven: ${JSON.stringify(problems)}`);
  console.log(nodes, String(digest));
}
