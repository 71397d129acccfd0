import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { silentLogger } from "@zk-backyp/core";
import { describe, it } from "vitest";
import { openHelperControl } from "../src/node-control/helper.ts";
import { openNodeControl } from "../src/node-control/open-node-control.ts";
import { startRootHelper } from "../src/root-helper/root-helper.ts";
import { nodeControlContract } from "../src/testing/index.ts";
import { slowNode } from "./slow-node.ts";

describe.concurrent("a node behind a root helper", () => {
  const cases = nodeControlContract(async () => {
    const folder = await mkdtemp(join(tmpdir(), "zk-backyp-helped-"));
    const node = await slowNode(join(folder, "node"), { endsAfterSeconds: 1 });
    const { start, stop, status } = node;
    const control = openNodeControl({ use: "command", start, stop, status }, "/");
    await control.start({ signal: AbortSignal.timeout(60_000) });
    const socket = join(folder, "ctl.sock");
    const helper = await startRootHelper({
      socket,
      control,
      stateDir: join(folder, "state"),
      maxDowntimeMs: 600_000,
      stayStoppedFile: null,
      logger: silentLogger,
    });
    return {
      control: openHelperControl({ socket }),
      stranger: openHelperControl({ socket: join(folder, "another.sock") }),
      livingPid: node.livingPid,
      async dispose() {
        await helper.close();
        await node.kill();
        await rm(folder, { recursive: true });
      },
    };
  });
  for (const { name, run } of cases) it(name, run);
});
