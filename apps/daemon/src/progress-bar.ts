import type { Series } from "@zk-backyp/core";
import { Presets, SingleBar } from "cli-progress";
import { formatBytes } from "./formats.ts";
import type { CliLogger } from "./logger.ts";

/** Draws a bar on stderr for whatever the series does, if that is a terminal. Returns how to take it away. */
export function drawProgress(series: Series, logger: CliLogger, wanted: boolean): () => void {
  if (!wanted || process.stderr.isTTY !== true) return () => {};
  const bar = new SingleBar(
    {
      format: "{bar} {percentage}%  {done} of {all}  {path}",
      clearOnComplete: true,
      hideCursor: true,
      stopOnComplete: false,
      gracefulExit: false,
      stream: process.stderr,
      barsize: 30,
    },
    Presets.shades_classic,
  );
  let drawn = false;
  const stop = (): void => {
    if (drawn) bar.stop();
    drawn = false;
  };
  for (const run of ["backup", "verify", "restore"] as const) {
    series.events.on(`${run}:progress`, ({ bytes, totalBytes, path }) => {
      // An estimate may be too low; a bar past its end looks broken.
      const total = Math.max(totalBytes, bytes);
      const fields = { path, done: formatBytes(bytes), all: formatBytes(total) };
      if (!drawn) bar.start(total, bytes, fields);
      drawn = true;
      bar.setTotal(total);
      bar.update(bytes, fields);
    });
  }
  series.events.on("verify:rehearsal", () => {
    if (drawn) bar.update({ path: "a server is starting on it" });
  });
  logger.beforeLine = stop;
  return stop;
}
