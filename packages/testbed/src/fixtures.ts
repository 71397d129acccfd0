import { execFile } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdir } from "node:fs/promises";
import { join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

/** Data directories written by real servers, one archive each; `fixtures/README.md` tells what they hold. */
export type FixtureName =
  | "zookeeper-3.4.14"
  | "zookeeper-3.5.10"
  | "zookeeper-3.6.4"
  | "zookeeper-3.7.2"
  | "zookeeper-3.8.0"
  | "zookeeper-3.8.0-gz"
  | "zookeeper-3.8.0-rich"
  | "zookeeper-3.8.0-snappy";

/** Where a fixture was unpacked. The two directories are one where the server had them in one. */
export interface Fixture {
  readonly dataDir: string;
  readonly dataLogDir: string;
}

// The same from src/ and from dist/.
const ARCHIVES = fileURLToPath(new URL("../../../fixtures/", import.meta.url));

/** Unpacks a fixture below `directory`, which is created when missing. The caller removes it. */
export async function unpackFixture(name: FixtureName, directory: string): Promise<Fixture> {
  await mkdir(directory, { recursive: true });
  // ZooKeeper allocates its logs ahead, as holes: S keeps them holes.
  await promisify(execFile)("tar", ["-xzSf", join(ARCHIVES, `${name}.tar.gz`), "-C", directory]);
  const root = resolve(directory, name);
  if (existsSync(join(root, "version-2"))) return { dataDir: root, dataLogDir: root };
  return { dataDir: join(root, "data"), dataLogDir: join(root, "log") };
}
