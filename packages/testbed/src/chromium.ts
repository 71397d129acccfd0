import { accessSync, constants } from "node:fs";
import { delimiter, join } from "node:path";

const NAMES = ["chromium", "chromium-browser", "google-chrome"];

/** Where the browser is that tests open a page with, the first one on the PATH; or null. */
export function findChromium(): string | null {
  const { PATH = "" } = process.env;
  const places = PATH.split(delimiter).flatMap((directory) => NAMES.map((name) => join(directory, name)));
  return places.find(isExecutable) ?? null;
}

/** What is missing for tests that open a page, or null when it is there. For {@link requirePart}. */
export function chromiumMissing(): string | null {
  return findChromium() === null ? "a browser: install Debian's packages chromium and fonts-dejavu-core" : null;
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}
