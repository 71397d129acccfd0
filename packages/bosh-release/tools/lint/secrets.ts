import { join } from "node:path";
import type { ReleaseDirectory } from "./release-directory.ts";

// Amazon's key ids, and private keys.
const SECRET = /\b(?:AKIA|ASIA)[0-9A-Z]{16}\b|-----BEGIN [A-Z ]*PRIVATE KEY-----/;

/** Reports what looks like a real secret in what is packed or committed as text. */
export function checkSecrets(release: ReleaseDirectory): void {
  for (const folder of ["config", "jobs", "manifests", "packages"]) {
    for (const { path, kind } of release.tree(folder)) {
      // Never committed: what is in it is meant to be secret.
      if (kind !== "file" || join(folder, path) === join("config", "private.yml")) continue;
      const lines = release.text(join(folder, path))?.split("\n") ?? [];
      const found = lines.findIndex((line) => SECRET.test(line));
      if (found >= 0) {
        release.report("secret-in-release", join(folder, path), "has a key id of Amazon or a private key", found + 1);
      }
    }
  }
}
