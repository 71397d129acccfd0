import type { JsonObject, JsonValue, Manifest } from "@zk-backyp/core";
import colors from "picocolors";
import { formatBytes, formatDuration, formatTime } from "./formats.ts";

/** What a person wants to know of a backup, as labels and values. */
export function describeManifest(manifest: Manifest, location: string): (readonly [string, string])[] {
  const plainBytes = manifest.entries.reduce((sum, entry) => sum + entry.size, 0);
  const tookMs = Date.parse(manifest.finishedAt) - Date.parse(manifest.startedAt);
  const fields: (readonly [string, string])[] = [
    ["taken", `${formatTime(manifest.startedAt)} UTC, in ${formatDuration(tookMs)}`],
    ["archive", `${location}/${manifest.archive.key}`],
    [
      "size",
      `${formatBytes(manifest.archive.size)} (${formatBytes(plainBytes)} in ${manifest.entries.length} ${manifest.entries.length === 1 ? "file" : "files"})`,
    ],
    ["up to", manifest.range.upTo],
  ];
  if (manifest.times !== null) {
    fields.push(["changes", `${formatTime(manifest.times.from)} to ${formatTime(manifest.times.upTo)} UTC`]);
  }
  fields.push(...described(manifest.contents), ...described({ proof: manifest.proof }));
  const { downtime, ...facts } = manifest.facts;
  fields.push(...described(facts), ...describedDowntime(downtime));
  const verified = "every byte, on its way into the archive";
  fields.push(["verified", manifest.verified ? verified : colors.red("no: DAMAGED, kept as what there was")]);
  for (const problem of manifest.problems) fields.push([problem.severity, describeProblem(problem)]);
  return fields;
}

/** For how long clients missed a server that was stopped for the backup, and how that came about. */
function describedDowntime(downtime: JsonValue | undefined): (readonly [string, string])[] {
  if (typeof downtime !== "object" || downtime === null || Array.isArray(downtime)) return [];
  const { stoppedMs, linkedMs, startedMs, servingMs, caughtUpMs } = downtime as JsonObject;
  if (typeof servingMs !== "number") return [];
  const seconds = (ms: number): string => (ms / 1000).toFixed(2);
  const steps = { stopped: stoppedMs, linked: linkedMs, "start asked": startedMs, serving: servingMs };
  const known = Object.entries({ ...steps, "caught up": caughtUpMs }).flatMap(([step, ms]) =>
    typeof ms === "number" ? [`${step} ${seconds(ms)}`] : [],
  );
  return [["downtime", `${seconds(servingMs)} s (${known.join(", ")})`]];
}

/** What was found, with the file it is about. */
export function describeProblem({ file, message }: Manifest["problems"][number]): string {
  return file === null ? message : `${file}: ${message}`;
}

/** The plain values of an object, one line each; what is nested is left to `--json`. */
function described(object: { readonly [key: string]: JsonValue }): (readonly [string, string])[] {
  return Object.entries(object).flatMap(([label, value]) => {
    if (value === null) return [];
    if (typeof value !== "object") return [[label, String(value)] as const];
    if (Array.isArray(value)) {
      const plain = value.filter((part) => typeof part !== "object");
      return plain.length === 0 ? [] : [[label, plain.join(", ")] as const];
    }
    const inner = Object.entries(value as { readonly [key: string]: JsonValue })
      .filter(([, part]) => part !== null && typeof part !== "object")
      .map(([name, part]) => `${name} ${part}`);
    return inner.length === 0 ? [] : [[label, inner.join(", ")] as const];
  });
}
