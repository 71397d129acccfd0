import { BackypError } from "./errors.ts";
import type { Manifest } from "./manifest.ts";
import type { Problem } from "./source.ts";

/** Whether a backup with this finding would not restore, or not without loss. */
export function isSerious({ severity }: Problem): boolean {
  return severity !== "info";
}

/** The serious ones of the findings, as one line. */
function reasonsIn(problems: readonly Problem[]): string {
  return problems
    .filter(isSerious)
    .map(({ file, message }) => (file === null ? message : `${file}: ${message}`))
    .join("; ");
}

/** The error for files that would not restore without loss: what is wrong with them, and perhaps what to do (`remedy`). */
export function damageIn(what: string, problems: readonly Problem[], remedy = ""): BackypError {
  return new BackypError(
    "ERR_SOURCE_DAMAGED",
    `${what} would not restore without loss: ${reasonsIn(problems)}${remedy}`,
    { details: { problems: problems.filter(isSerious) } },
  );
}

/** The error for a backup that was kept although it is damaged. */
export function keptDamaged({ id, problems }: Manifest, consequence: string): BackypError {
  const reasons = reasonsIn(problems) || "its manifest does not say why";
  return new BackypError(
    "ERR_BACKUP_DAMAGED",
    `the backup ${id} was kept although its source was damaged${consequence}: ${reasons}`,
    { details: { id, problems: problems.filter(isSerious) } },
  );
}
