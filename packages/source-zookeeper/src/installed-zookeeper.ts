import { existsSync, readdirSync, statSync } from "node:fs";
import { delimiter, join, resolve } from "node:path";
import { BackypError } from "@zk-backyp/core";

/** A ZooKeeper that can be started on this machine. */
export interface InstalledZooKeeper {
  /** Path of `java`. */
  readonly java: string;
  readonly classPath: string;
}

/** Where Debian's package `zookeeper` puts it. The first one names what it needs; the second shows what it logs. */
const DEBIAN_JARS = ["/usr/share/java/zookeeper.jar", "/usr/share/java/slf4j-simple.jar"];

/**
 * The release that `ZOOKEEPER_HOME` names, else Debian's package; with `java` from `JAVA_HOME`, else from the `PATH`.
 *
 * @throws BackypError `ERR_REHEARSAL_UNAVAILABLE` when there is none, with what to install
 */
export function findZooKeeper(environment: NodeJS.ProcessEnv): InstalledZooKeeper {
  const home = environment.ZOOKEEPER_HOME ?? "";
  const jars = home === "" ? DEBIAN_JARS.filter((jar) => existsSync(jar)) : releaseJars(home);
  const java = findJava(environment);
  const missing: string[] = [];
  if (home !== "" && jars.length === 0) missing.push(`there are no jars in ZOOKEEPER_HOME=${home}, nor in its lib`);
  if (home === "" && jars.length < DEBIAN_JARS.length) missing.push("no ZooKeeper is installed");
  if (java === undefined) missing.push("there is no java in JAVA_HOME or the PATH");
  if (missing.length === 0 && java !== undefined) return { java, classPath: jars.join(delimiter) };
  throw new BackypError(
    "ERR_REHEARSAL_UNAVAILABLE",
    `a deep verification starts a ZooKeeper server, but ${missing.join(" and ")}: unpack a release of ZooKeeper and name it in ZOOKEEPER_HOME, or install Debian's package zookeeper; and have java on the PATH`,
    { details: { missing } },
  );
}

// The server runs in another folder: there a relative path would lead elsewhere.
function findJava({ JAVA_HOME: home = "", PATH: path = "" }: NodeJS.ProcessEnv): string | undefined {
  const directories = path.split(delimiter).filter((directory) => directory !== "");
  if (home !== "") directories.unshift(join(home, "bin"));
  const candidates = directories.map((directory) => resolve(directory, "java"));
  return candidates.find((file) => statSync(file, { throwIfNoEntry: false })?.isFile());
}

/** 3.4 has the server's jar at the top, 3.5 and later have it among the libraries. */
function releaseJars(home: string): string[] {
  return [resolve(home), resolve(home, "lib")].flatMap((directory) => {
    if (!existsSync(directory)) return [];
    const names = readdirSync(directory).filter((name) => name.endsWith(".jar"));
    return names.sort().map((name) => join(directory, name));
  });
}
