import { spawnSync } from "node:child_process";
import { existsSync, globSync, readFileSync } from "node:fs";
import { mkdir, mkdtemp, readlink, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { makeCertificates } from "@zk-backyp/testbed";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { compilePackages, requirePackages } from "../testing/packaging.ts";
import { RELEASE, readBlobs } from "../tools/blobs.ts";

// A machine with nothing but the packages: no network but its own loopback, no Java and Node of this one.
const MACHINE = `
mount -t tmpfs tmpfs /var
mkdir -p /var/vcap/packages
mount --bind "$packages" /var/vcap/packages
mount -o remount,bind,ro /var/vcap/packages
for other in /usr/lib/jvm /etc/java-17-openjdk /etc/ssl/certs/java /usr/share/java; do
  if [ -d "$other" ]; then mount -t tmpfs tmpfs "$other"; fi
done
ip link set lo up
cd "$folder"
exec env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin bash -euc "$script"
`;
// Of Ubuntu 22.04, which the older of today's stemcells is made of.
const NEWEST_GLIBC = 35;

describe.skipIf(!(await requirePackages()))("what the packaging scripts make", () => {
  let folder: string;
  let packages: string;
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), "zk-backyp-packaging-"));
    packages = join(folder, "packages");
    await compilePackages(packages);
  });
  afterAll(() => rm(folder, { recursive: true, force: true }));

  /** Runs a script of bash on the machine. Returns what it prints, and fails if it does. */
  function run(script: string): string {
    const { status, stdout, stderr } = spawnSync("unshare", ["-m", "-n", "bash", "-euc", MACHINE], {
      env: { ...process.env, packages, folder, script: `packages=/var/vcap/packages\n${script}` },
      encoding: "utf8",
      // bash takes a socket for a remote shell, and reads its startup files.
      stdio: ["ignore", "pipe", "pipe"],
      maxBuffer: 1 << 26,
      timeout: 300_000,
    });
    if (status !== 0) throw new Error(`exit code ${status}\n${stdout}${stderr}`);
    return stdout;
  }

  const version = (name: string): string => readBlobs(RELEASE).find((blob) => blob.name === name)?.version ?? "";

  it("is Node, and nothing else of its package", () => {
    expect(run("$packages/node-24/bin/node --version")).toBe(`v${version("node")}\n`);
    expect(globSync("**", { cwd: join(packages, "node-24") }).sort()).toEqual([".", "LICENSE", "bin", "bin/node"]);
  });

  it("is a Java without Debian around it, whose classes come from its archive", async () => {
    const java = run(`
      . $packages/openjdk-17/bosh/runtime.env
      java -Xshare:on -version 2>&1
      echo "home $JAVA_HOME"`);
    expect(java).toContain(`build ${version("openjdk-17-jre-headless").replace("~", "-").split("-")[0]}-`);
    expect(java).toMatch(/home \/var\/vcap\/packages\/openjdk-17\n$/);
    const links = globSync("openjdk-17/**", { cwd: packages, withFileTypes: true }).filter((each) =>
      each.isSymbolicLink(),
    );
    for (const link of links) {
      const path = join(link.parentPath, link.name);
      expect(await readlink(path), path).toMatch(/^\.\.?\//);
      expect(existsSync(path), path).toBe(true);
    }
    expect(existsSync(join(packages, "openjdk-17/conf/security/java.security"))).toBe(true);
    expect(existsSync(join(packages, "openjdk-17/copyright"))).toBe(true);
  });

  it("runs with the C library of every stemcell of today", () => {
    const binaries = ["node-24/bin/node", ...globSync("openjdk-17/{bin/*,lib/**/*.so}", { cwd: packages })];
    expect(binaries.length).toBeGreaterThan(20);
    for (const path of binaries) {
      const text = readFileSync(join(packages, path), "latin1");
      const needs = [...text.matchAll(/\0GLIBC_2\.(\d+)(?=[.\0])/g)].map(([, minor]) => Number(minor));
      expect(Math.max(...needs, 0), path).toBeLessThanOrEqual(NEWEST_GLIBC);
    }
  });

  it("names nowhere the folder that it was compiled in", () => {
    expect(spawnSync("grep", ["-rl", "/var/vcap/data/compile", packages], { encoding: "utf8" })).toMatchObject({
      status: 1,
      stdout: "",
    });
  });

  it("is a ZooKeeper whose jars are those of the blobs, with their licences", () => {
    const jars = readBlobs(RELEASE).flatMap(({ path }) => /^zookeeper\/(.*)$/.exec(path)?.[1] ?? []);
    expect(globSync("*", { cwd: join(packages, "zookeeper/lib") }).sort()).toEqual(jars.sort());
    const licences = readFileSync(join(packages, "zookeeper/LICENSES.txt"), "utf8");
    for (const jar of jars) {
      const name = jar.replace(/-\d.*$/, "");
      const family = /^(netty|jackson|jetty)-/.exec(name)?.[1];
      const listed = family === undefined ? name.replace(/^simpleclient_.*/, "simpleclient") : `${family}-*`;
      expect(licences, jar).toContain(listed);
    }
  });

  it("serves, with TLS, AdminServer and metrics, is backed up and restored", async () => {
    const data = join(folder, "data");
    await mkdir(data);
    const { server, caFile, client } = await makeCertificates(join(folder, "certificates"));
    const settings = {
      dataDir: data,
      clientPort: 2181,
      secureClientPort: 2281,
      serverCnxnFactory: "org.apache.zookeeper.server.NettyServerCnxnFactory",
      "ssl.keyStore.location": server.keyStoreFile,
      "ssl.keyStore.type": "PEM",
      "ssl.trustStore.location": caFile,
      "ssl.trustStore.type": "PEM",
      "ssl.clientAuth": "need",
      "admin.serverPort": 8080,
      "metricsProvider.className": "org.apache.zookeeper.metrics.prometheus.PrometheusMetricsProvider",
      "metricsProvider.httpHost": "127.0.0.1",
      "metricsProvider.httpPort": 7000,
      "4lw.commands.whitelist": "srvr,mntr,conf,ruok",
      snapCount: 5,
    };
    const lines = Object.entries(settings).map(([key, value]) => `${key}=${value}\n`);
    await writeFile(join(folder, "zoo.cfg"), lines.join(""));
    const tls = {
      "zookeeper.client.secure": "true",
      "zookeeper.clientCnxnSocket": "org.apache.zookeeper.ClientCnxnSocketNetty",
      "zookeeper.ssl.keyStore.location": client.keyStoreFile,
      "zookeeper.ssl.keyStore.type": "PEM",
      "zookeeper.ssl.trustStore.location": caFile,
      "zookeeper.ssl.trustStore.type": "PEM",
    };
    const tlsFlags = Object.entries(tls).map(([key, value]) => `-D${key}=${value}`);
    const output = run(`
      mkdir tmp
      $packages/openjdk-17/bin/java -Djava.io.tmpdir=$PWD/tmp -Dzookeeper.snapshot.compression.method=snappy \
        -Dlogback.configurationFile=$packages/zookeeper/bin/zkCli-logback.xml \
        -cp "$packages/zookeeper/lib/*" org.apache.zookeeper.server.quorum.QuorumPeerMain ./zoo.cfg >server.log 2>&1 &
      server=$!
      trap 'kill $server || true; wait $server || true; cat server.log' EXIT
      get() { exec 3<>/dev/tcp/127.0.0.1/$1; printf "GET $2 HTTP/1.0\\r\\n\\r\\n" >&3; cat <&3; }
      for ((tries = 0; tries < 300; tries += 1)); do
        if (get 8080 /commands/srvr) 2>/dev/null | grep -q '"version"'; then break; fi
        kill -0 $server
        sleep 0.2
      done
      echo AdminServer; get 8080 /commands/srvr | grep '"version"'
      echo metrics; get 7000 /metrics | grep -m1 '^jvm_info{'; get 7000 /metrics | grep '^znode_count '
      for name in one two three four five six seven; do echo "create /$name text-of-$name"; done \
        | $packages/zookeeper/bin/zkCli -server 127.0.0.1:2181 >created 2>&1
      echo TLS; CLIENT_JVMFLAGS='${tlsFlags.join(" ")}' $packages/zookeeper/bin/zkCli -server localhost:2281 get /three 2>&1
      echo backup
      backyp=$packages/zk-backyp/bin/zk-backyp
      $backyp --version
      $backyp backup --zoo-cfg ./zoo.cfg --to ./backups
      $backyp verify latest --from ./backups
      $backyp restore latest --from ./backups --to ./restored
      $backyp cat latest /three --from ./backups
      ls restored/version-2 tmp`);
    expect(output).toMatch(/^AdminServer\n.*"version" : "3\.9\.6-/m);
    expect(output).toMatch(/^metrics\njvm_info\{.*version="17\..*\nznode_count \d/m);
    expect(output).toMatch(/^TLS\n[\s\S]*^text-of-three$/m);
    expect(output).toMatch(/^backup\n\d+\.\d+\.\d+\n[\s\S]*snapshot\.\w+\.snappy/m);
    expect(output).not.toMatch(/^(?:ERROR|Exception|.*NoClassDefFoundError)/m);
  });
});
