// The real servers that tests and demo run against, from Debian's own packages.
import { spawnSync } from "node:child_process";
import { existsSync, rmSync, writeFileSync } from "node:fs";

const JDK = "default-jdk-headless";
/** What `npm run demo -- --s3` uses. Ceph's manager daemon is left out on purpose: the gateway does without. */
export const FOR_S3_DEMO = ["zookeeper", "ceph-mon", "ceph-osd", "radosgw", "ceph-common"];
/**
 * What a test run uses: tests compile a program that asks ZooKeeper's own classes, stop servers under monit, have
 * promtool, which is in `prometheus`, check what is for Prometheus, open a page in a browser, render the BOSH release's
 * templates in ruby as a Director does, have shellcheck look at its scripts, and give machines in namespaces a network.
 */
export const FOR_TESTS = [
  ...FOR_S3_DEMO,
  JDK,
  "monit",
  "prometheus",
  "chromium",
  "fonts-dejavu-core",
  "ruby",
  "shellcheck",
  "iproute2",
];
/** What the release matrix uses. */
export const FOR_MATRIX = ["zookeeper", JDK];
/** What the demo uses. */
export const FOR_DEMO = ["zookeeper"];

const APT = ["--no-install-recommends", "-y", "-q", "-o", "DPkg::Lock::Timeout=300"];
const POLICY = "/usr/sbin/policy-rc.d";

/**
 * Installs those of the packages that are missing, if this is root on Debian or Ubuntu; otherwise prints what to
 * install. Never throws and never fails the caller: tests of a missing part are skipped.
 *
 * @returns {string[]} the packages that are still missing
 */
export function installDebianPackages(packages) {
  const missing = missingPackages(packages);
  if (missing.length === 0) return [];
  const line = `apt-get install --no-install-recommends ${missing.join(" ")}`;
  if (!existsSync("/etc/debian_version") || !has("apt-get")) {
    console.error(
      `Not Debian or Ubuntu: to run everything, install what these Debian packages hold: ${missing.join(" ")}`,
    );
    return missing;
  }
  if (process.getuid?.() !== 0) {
    console.error(`Not root: to run everything, run \`${line}\``);
    return missing;
  }
  console.error(`Installing ${missing.join(" ")} ...`);
  withoutStartingServices(() => {
    apt("update", "-q", "-o", "DPkg::Lock::Timeout=300") && apt("install", ...APT, ...missing);
  });
  const still = missingPackages(packages);
  if (still.length > 0) console.error(`Still missing: ${still.join(" ")}. Run \`${line}\``);
  return still;
}

function missingPackages(packages) {
  const { ZOOKEEPER_HOME = "" } = process.env;
  return packages.filter((name) => {
    // The testbed takes another ZooKeeper if it is told of one.
    if (name === "zookeeper" && ZOOKEEPER_HOME !== "") return false;
    if (name === JDK && has("javac")) return false;
    const { stdout } = spawnSync("dpkg-query", ["-s", name], { encoding: "utf8" });
    return !(stdout ?? "").includes("Status: install ok installed");
  });
}

function apt(...args) {
  const env = { ...process.env, DEBIAN_FRONTEND: "noninteractive" };
  const { status, stdout, stderr } = spawnSync("apt-get", args, { env, encoding: "utf8", maxBuffer: 1 << 28 });
  if (status !== 0) console.error(`${stdout ?? ""}${stderr ?? ""}`);
  return status === 0;
}

// Debian's packages ask this file whether they may start a service; 101 says no.
function withoutStartingServices(install) {
  const ours = !existsSync(POLICY);
  try {
    if (ours) writeFileSync(POLICY, "#!/bin/sh\nexit 101\n", { mode: 0o755 });
    install();
  } catch (error) {
    console.error(String(error));
  } finally {
    if (ours) rmSync(POLICY, { force: true });
  }
}

function has(command) {
  return spawnSync(command, ["--version"]).error === undefined;
}
