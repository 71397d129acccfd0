// One cold backup in a process of its own, as each member of an ensemble has it: `cold-daemon.ts OPTIONS BACKUPS [PREFIX]`,
// with the source's options as JSON. Begins when a line comes on stdin, and says as JSON on stdout what came of it.
import { once } from "node:events";
import { isBackypError, openSeries } from "@zk-backyp/core";
import { createFsSink } from "@zk-backyp/sink-fs";
import { createZooKeeperSource } from "../src/index.ts";

const [, , options = "", path = "", prefix = "zk"] = process.argv;
const source = createZooKeeperSource(JSON.parse(options));
const series = openSeries({ prefix, source, sink: createFsSink({ path }) });
const say = (what: object): void => console.log(JSON.stringify(what));

say({ ready: true });
await once(process.stdin, "data");
process.stdin.destroy();
try {
  say({ id: (await series.backup())?.id ?? null });
} catch (error) {
  say(isBackypError(error) ? { code: error.code, message: error.message } : { message: String(error) });
}
await source.close?.();
