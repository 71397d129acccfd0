import { BackypError, type ErrorCode } from "./errors.ts";
import type { Manifest } from "./manifest.ts";
import type { Problem } from "./source.ts";

/** Whether a backup with this finding would not restore, or not without loss. */
export function isSerious({ severity }: Problem): boolean {
  return severity !== "info";
}

/** The serious ones of the findings, as one line. */
function reasonsIn(problems: readonly Problem[]): string {
  const reasons = problems
    .filter(isSerious)
    .map(({ file, message }) => (file === null ? message : `${file}: ${message}`));
  return reasons.length === 0 ? "its manifest does not say why" : reasons.join("; ");
}

/** The error for files that would not restore without loss. */
export function damageIn(
  what: string,
  problems: readonly Problem[],
  code: ErrorCode = "ERR_SOURCE_DAMAGED",
): BackypError {
  return new BackypError(code, `${what} would not restore without loss: ${reasonsIn(problems)}`, {
    details: { problems: problems.filter(isSerious) },
  });
}

/** The error for a backup that was kept although it is damaged. */
export function keptDamaged({ id, problems }: Manifest, consequence: string): BackypError {
  return new BackypError(
    "ERR_BACKUP_DAMAGED",
    `the backup ${id} was kept although its source was damaged${consequence}: ${reasonsIn(problems)}`,
    { details: { id, problems: problems.filter(isSerious) } },
  );
}
