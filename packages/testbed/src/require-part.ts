/**
 * Whether the tests that need a part of the machine can run. For `it.skipIf(!requirePart(...))`: on a developer's
 * machine what is missing is skipped with a warning, but under `CI` it is an error, so that no test is left out there
 * without anybody noticing.
 *
 * @param missing what is missing and how to get it, or null when everything is there (`cephRgwMissing()`)
 * @throws Error when something is missing and the environment variable `CI` is set
 */
export function requirePart(missing: string | null): boolean {
  if (missing === null) return true;
  const ci = process.env.CI ?? "";
  if (ci !== "" && ci !== "false") throw new Error(`a part that the tests need is missing: ${missing}`);
  console.warn(`SKIPPED TESTS: ${missing}`);
  return false;
}
