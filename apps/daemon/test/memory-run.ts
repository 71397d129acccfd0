import { rm } from "node:fs/promises";
import { join } from "node:path";
import { startCephRgw, writeLargeData } from "@zk-backyp/testbed";
import { measureCli } from "./measure-cli.ts";

/** Peak resident memory in MB and wall time in seconds of one command. */
export interface RunFigures {
  readonly command: string;
  readonly sink: "fs" | "s3";
  readonly peakMB: number;
  readonly seconds: number;
}

/** Backs up, verifies and restores a directory of `bytes` bytes with either sink, each command a process of its own. */
export async function measureMemory(folder: string, bytes: number): Promise<RunFigures[]> {
  const dataDir = join(folder, "data");
  await writeLargeData(dataDir, bytes);
  const s3 = await startCephRgw({ directory: join(folder, "rgw") });
  const figures: RunFigures[] = [];
  try {
    await s3.createBucket("large");
    const env = { AWS_ACCESS_KEY_ID: s3.accessKeyId, AWS_SECRET_ACCESS_KEY: s3.secretAccessKey };
    const sinks = { fs: join(folder, "backups"), s3: `s3://large/x?endpoint=${s3.endpoint}&pathStyle=true` } as const;
    for (const sink of ["fs", "s3"] as const) {
      const target = join(folder, "restored");
      const commands = [
        ["backup", "--data-dir", dataDir, "--to", sinks[sink]],
        ["verify", "latest", "--from", sinks[sink]],
        ["restore", "latest", "--from", sinks[sink], "--to", target],
      ];
      for (const args of commands) {
        const { peakMB, seconds } = await measureCli(args, env);
        figures.push({ command: args[0] ?? "", sink, peakMB, seconds });
      }
      await rm(target, { recursive: true });
      await rm(sinks.fs, { recursive: true, force: true });
    }
  } finally {
    await s3.stop();
  }
  return figures;
}
