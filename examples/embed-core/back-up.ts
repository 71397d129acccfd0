import { openSeries } from "@zk-backyp/core";
import { createFsSink } from "@zk-backyp/sink-fs";
import { createZooKeeperSource } from "@zk-backyp/source-zookeeper";

const [dataDir = "/var/lib/zookeeper", path = "backups"] = process.argv.slice(2);
const source = createZooKeeperSource({ dataDir });
const sink = createFsSink({ path });
const series = openSeries({ prefix: "zookeeper", source, sink });

series.events.on("backup:start", ({ backupId }) => console.log(`begun   ${backupId}`));
series.events.on("backup:complete", ({ manifest }) => console.log(`stored  ${manifest.archive.key}`));
series.events.on("backup:failed", ({ error }) => console.log(`failed  ${error.code}`));

const manifest = await series.backup();
console.log(`holds   every change up to ${manifest?.range.upTo}`);
await source.close();
await sink.close();
