import { delimiter, join } from "node:path";
import { fileURLToPath } from "node:url";
import { fetchPinned, MAVEN_CENTRAL, UnreachableError } from "./fetch-pinned.ts";
import { requirePart } from "./require-part.ts";
import { javaMissing } from "./zookeeper.ts";

/** The release lines of ZooKeeper whose files differ in some way, oldest first. */
export const RELEASE_LINES = ["3.4", "3.5", "3.6", "3.7", "3.8", "3.9"] as const;

/** A release line: `3.4` to `3.9`. */
export type ReleaseLine = (typeof RELEASE_LINES)[number];

/** ZooKeeper's own jars of one release, as published, with what they need to run a server with its AdminServer. */
export interface Release {
  readonly line: ReleaseLine;
  /** The newest release of its line when this was written: `3.4.14`. */
  readonly version: string;
  /** Paths of the jars, the server's own first. */
  readonly jars: readonly string[];
  /** The same for `java -cp`. */
  readonly classPath: string;
}

/** Path below Maven Central, and the SHA-256 of what lies there. */
type Jar = readonly [path: string, sha256: string];

// The same from src/ and from dist/. Not tracked by git, and kept over an install.
const CACHE = fileURLToPath(new URL("../../../node_modules/.cache/zookeeper-releases/", import.meta.url));

const VERSIONS: Readonly<Record<ReleaseLine, readonly [version: string, jar: string, juteJar: string | null]>> = {
  "3.4": ["3.4.14", "23ef2bf90c8ca233f68bf3c24ab69947fc7b38e8c8b9327f5c2fd9140ae7aecf", null],
  "3.5": [
    "3.5.10",
    "6e464f38311feafa64c1759ba70c99a8df7c5fa73015566106472dbeae9f91a2",
    "edc31093829ab70f082456d0baecf1eade3f3d6f4dc81c1d3a1e04ed2920086d",
  ],
  "3.6": [
    "3.6.4",
    "570794d876e9abf0367d03e8ca4e50274d3c57a730d739d862bd1fe0b4f5f805",
    "f3477ca671fe1a91553b5279ab7ad01e435d20cd7de902252a82716e70a3e730",
  ],
  "3.7": [
    "3.7.2",
    "b12d6fb4afd7b3849d3a9a5a38b9260c23a12e1ea58ca8c8d775880249cb8eac",
    "ad15d812b1f01f373638443adcda0e23fda549d65ced2be8c4f64bef33b5d774",
  ],
  "3.8": [
    "3.8.7",
    "fd12731eecb5d3ace48fa25f0141f011bcb13273b5dca301ff15d5409bd52a91",
    "a4980a3cd8fe0b4640326ccb4048556de66a34d0ed0c12a2380df7315de15b36",
  ],
  "3.9": [
    "3.9.6",
    "09bdf93be7c0b5b7cd9fe51bee6abe424796cd5aaf75cf0c10bbd6f1273562ee",
    "74f9cb1e4ba899ecc4b816201b4afd1c63c256705bd9176393fac4071597c75f",
  ],
};

// The libraries that a server loads as long as TLS is off. One version of each serves all release lines.
const LOGGING: readonly Jar[] = [
  ["org/slf4j/slf4j-api/1.7.36", "d3ef575e3e4979678dc01bf1dcce51021493b4d11fb7f1be8ad982877c16a1c0"],
  ["org/slf4j/slf4j-simple/1.7.36", "2f39bed943d624dfa8f4102d0571283a10870b6aa36f197a8a506f147010c10f"],
];
const ADMIN_SERVER: readonly Jar[] = [
  ["javax/servlet/javax.servlet-api/3.1.0", "af456b2dd41c4e82cf54f3e743bc678973d9fe35bd4d3071fa05c7e5333b8482"],
  [
    "org/eclipse/jetty/jetty-server/9.4.57.v20241219",
    "ba957ae07da647023cfa52c923732aea1c67f5273a594cee1863365dfebb9a02",
  ],
  [
    "org/eclipse/jetty/jetty-servlet/9.4.57.v20241219",
    "c5e9517974dec9e4606b2d810f4995ea81091b1e24bd9640cb45d8b2aefd722c",
  ],
  ["org/eclipse/jetty/jetty-http/9.4.57.v20241219", "02c6514977f0051dfdecf8d0799acf7a88fd8008a5fd9320a92f2e5db45d297b"],
  ["org/eclipse/jetty/jetty-io/9.4.57.v20241219", "f6246a2cf0abcee7f0971217c0ce4cd30d8ce15a91530363457113907ab38690"],
  ["org/eclipse/jetty/jetty-util/9.4.57.v20241219", "6ccbf678716778e316cc097d8aada4fe2a2e16c0bbfd8a1763204d6724b423f4"],
  [
    "org/eclipse/jetty/jetty-util-ajax/9.4.57.v20241219",
    "67af50dd7714803b1bcdfabac181dd8b279d0ba6ba7fd27ea80c5b2099016542",
  ],
  [
    "org/eclipse/jetty/jetty-security/9.4.57.v20241219",
    "af923d4f395a73bf8ddcb754f42d7617c6b7055e37e5a6b625ed894f73107ae9",
  ],
  [
    "com/fasterxml/jackson/core/jackson-databind/2.15.2",
    "0eb2fdad6e40ab8832a78c9b22f58196dd970594e8d3d5a26ead87847c4f3a96",
  ],
  [
    "com/fasterxml/jackson/core/jackson-core/2.15.2",
    "303c99e82b1faa91a0bae5d8fbeb56f7e2adf9b526a900dd723bf140d62bd4b4",
  ],
  [
    "com/fasterxml/jackson/core/jackson-annotations/2.15.2",
    "04e21f94dcfee4b078fa5a5f53047b785aaba69d19de392f616e7a7fe5d3882f",
  ],
];
const SINCE_3_6: readonly Jar[] = [
  ["io/dropwizard/metrics/metrics-core/4.1.12.1", "cec34936faa625039f4e46123eccaa10a9eb9d9a40c6075830cd81330e259cf9"],
  ["org/xerial/snappy/snappy-java/1.1.10.5", "0f3f1857ed33116583f480b4df5c0218836c47bfbc9c6221c0d73f356decf37b"],
  ["commons-io/commons-io/2.17.0", "4aa4ca48f3dfd30b78220b7881d8cb93eac4093ec94361b6befa9487998a550b"],
];

// In this process, each jar is fetched once.
const fetching = new Map<string, Promise<string>>();

/**
 * The jars of a release, from a cache in `node_modules/.cache` of the workspace, or from Maven Central (2 MB for the
 * first, 15 MB for all). What is in the cache is checked again against its SHA-256. Runs at the same time in several
 * processes.
 *
 * @throws Error if Maven Central cannot be reached (ask {@link requireReleases} first), or if it has another file than
 *   the one that was pinned
 */
export async function fetchRelease(line: ReleaseLine): Promise<Release> {
  const jars = await Promise.all(jarsOf(line).map(fetchJar));
  return { line, version: VERSIONS[line][0], jars, classPath: jars.join(delimiter) };
}

/**
 * Whether the tests that need real servers of all release lines can run; fetches them. For
 * `describe.skipIf(!(await requireReleases()))`. While Maven Central is out of reach this is false, with a warning, even
 * under `CI`: unlike a package of the machine, nobody can install it.
 *
 * @throws Error if Maven Central has another file than the one that was pinned; or under `CI`, if there is no java
 */
export async function requireReleases(): Promise<boolean> {
  if (!requirePart(javaMissing())) return false;
  try {
    await Promise.all(RELEASE_LINES.map(fetchRelease));
    return true;
  } catch (error) {
    if (!(error instanceof UnreachableError)) throw error;
    console.warn(`SKIPPED TESTS: ZooKeeper's releases are missing: ${error.message}`);
    return false;
  }
}

function jarsOf(line: ReleaseLine): Jar[] {
  const [version, sha256, jute] = VERSIONS[line];
  const jars: Jar[] = [[`org/apache/zookeeper/zookeeper/${version}`, sha256]];
  if (jute !== null) jars.push([`org/apache/zookeeper/zookeeper-jute/${version}`, jute]);
  jars.push(...LOGGING);
  if (line !== "3.4") jars.push(...ADMIN_SERVER);
  if (line !== "3.4" && line !== "3.5") jars.push(...SINCE_3_6);
  return jars;
}

function fetchJar(jar: Jar): Promise<string> {
  const [folder] = jar;
  let path = fetching.get(folder);
  if (path === undefined) {
    path = cached(jar);
    fetching.set(folder, path);
    // The next who asks tries again.
    path.catch(() => fetching.delete(folder));
  }
  return path;
}

async function cached([folder, sha256]: Jar): Promise<string> {
  const [artifact, version] = folder.split("/").slice(-2);
  const name = `${artifact}-${version}.jar`;
  const path = join(CACHE, name);
  await fetchPinned({ url: `${MAVEN_CENTRAL}/${folder}/${name}`, sha256 }, path);
  return path;
}
