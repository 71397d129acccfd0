// A service that is told what to do by signals and files, and speaks to systemd as the daemon does: `notifying-service.ts
// FOLDER`. It is ready once FOLDER/go is there, not alive while FOLDER/dead is there, and blocked by SIGUSR2.
import { spawnSync } from "node:child_process";
import { existsSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { connectServiceManager } from "../src/daemon/service-manager.ts";

const [, , folder = ""] = process.argv;
const manager = connectServiceManager({
  isAlive: () => !existsSync(join(folder, "dead")),
  logger: { debug() {}, info() {}, warn: (_, message) => console.error(message) },
});
const { stdout } = spawnSync("env", { encoding: "utf8" });
writeFileSync(join(folder, "environment"), stdout);
process.on("SIGUSR2", () => Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0));
process.on("SIGHUP", async () => {
  manager.reloading();
  await sleep(500);
  manager.ready("reloaded");
});
process.on("SIGTERM", async () => {
  manager.stopping();
  await sleep(1_000);
  await manager.close();
  process.exit(0);
});
while (!existsSync(join(folder, "go"))) await sleep(20);
manager.ready("has begun");
setInterval(() => {}, 60_000);
