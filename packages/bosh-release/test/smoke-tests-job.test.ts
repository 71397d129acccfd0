import { execFileSync } from "node:child_process";
import { chmod, mkdtemp, readdir, readFile, rm, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { requirePart, zooKeeperMissing } from "@zk-backyp/testbed";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { askMember, eventually, type Node, zkCli } from "../testing/cluster.ts";
import { deployTogether } from "../testing/deploy-together.ts";
import { schemaErrors } from "../testing/properties-schema.ts";
import { type Properties, RenderError, renderJob, rubyMissing } from "../testing/render-job.ts";
import { shellcheck, shellcheckMissing } from "../testing/shellcheck.ts";
import { makeStandIns } from "../testing/stand-ins.ts";
import { machinesMissing, type Network, startNetwork } from "../testing/stemcell.ts";

const hasShellcheck = requirePart(shellcheckMissing());

const spec = {
  name: "smoke-tests",
  deployment: "zk",
  id: "6f1a4f5e-0000-4000-8000-000000000000",
  index: 0,
  az: "z1",
  bootstrap: true,
  address: "127.0.0.1",
  ip: "127.0.0.1",
  networks: { default: { ip: "127.0.0.1" } },
  persistent_disk: 0,
  release: { name: "zookeeper-hybris", version: "1" },
};

function conn(client: Properties = {}, addresses: readonly string[] = ["10.0.0.3", "10.0.0.1"]): Properties {
  const instances = addresses.map((address, at) => ({
    name: "zookeeper",
    id: address,
    index: addresses.length - at,
    az: "z1",
    address,
    bootstrap: at === 0,
  }));
  const tls = { enabled: false, port: 2281, only: false, client_auth: "need", ...client };
  return { instances, properties: { client_port: 2181, tls: { client: tls } } };
}

describe("the properties of smoke-tests", () => {
  it.each([
    ["nothing", {}, []],
    ["a backup", { backup: true, timeout: 5 }, []],
    ["no time at all", { timeout: 0 }, ["/timeout must be >= 1"]],
    ["a text for true", { backup: "true" }, ["/backup must be boolean"]],
    ["a certificate that is none", { tls: { certificate: "x" } }, ['/tls/certificate must match format "certificate"']],
  ])("are checked by the Director: %s", (_, properties, errors) => {
    expect(schemaErrors("smoke-tests", properties)).toEqual(errors);
  });
});

describe.skipIf(!requirePart(rubyMissing()))("the templates of smoke-tests", () => {
  let folder: string;

  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), "smoke-tests-"));
  });

  afterEach(() => rm(folder, { recursive: true, force: true }));

  const render = (properties: Properties, link: unknown = conn()): Promise<void> =>
    renderJob({ job: "smoke-tests", context: { spec, properties, links: { conn: link as never } }, into: folder });
  const settings = async (): Promise<string[]> =>
    (await readFile(join(folder, "bin/run"), "utf8")).split("\n").filter((line) => /^readonly [A-Z_]+=/.test(line));

  it("are good bash, an empty monit file, and name the servers in the order of their indexes", async () => {
    await render({});
    expect(await readFile(join(folder, "monit"), "utf8")).toBe("");
    if (hasShellcheck) expect(shellcheck([join(folder, "bin/run")])).toBe("");
    expect(await settings()).toContain("readonly SERVERS=(10.0.0.1 10.0.0.3)");
    for (const file of await readdir(join(folder, "config"))) {
      expect((await stat(join(folder, "config", file))).mode & 0o777).toBe(0o640);
    }
  });

  it.each([
    ["without TLS", {}, {}, ["PLAIN_PORT=2181", "TLS_PORT=''", "UNTRIED_TLS=false"]],
    [
      "with TLS besides",
      { enabled: true },
      { tls: { certificate: "c", private_key: "k" } },
      ["PLAIN_PORT=2181", "TLS_PORT=2281"],
    ],
    [
      "with TLS besides, without a certificate",
      { enabled: true },
      {},
      ["PLAIN_PORT=2181", "TLS_PORT=''", "UNTRIED_TLS=true"],
    ],
    [
      "with TLS that needs none",
      { enabled: true, client_auth: "none", only: true },
      {},
      ["PLAIN_PORT=''", "TLS_PORT=2281"],
    ],
  ])("know which ports to try: %s", async (_, client, properties, expected) => {
    await render(properties, conn(client));
    if (hasShellcheck) expect(shellcheck([join(folder, "bin/run")])).toBe("");
    expect(await settings()).toEqual(expect.arrayContaining(expected.map((line) => `readonly ${line}`)));
  });

  it.each([
    [{ timeout: "120" }, conn(), "timeout has to be a whole number of seconds"],
    [{ tls: { certificate: "c" } }, conn(), "tls.certificate and tls.private_key go together"],
    [{}, conn({ enabled: true, only: true }), "the servers want certificates of clients"],
    [{ backup: "yes" }, conn(), "backup has to be true or false"],
  ])("refuse %j", async (properties, link, message) => {
    await expect(render(properties, link)).rejects.toThrow(RenderError);
    await expect(render(properties, link)).rejects.toThrow(message);
  });
});

const canRun = [rubyMissing(), machinesMissing(), zooKeeperMissing()].every(requirePart);

describe.skipIf(!canRun)("smoke tests of one server with TLS", () => {
  let folder: string;
  let network: Network;
  let node: Node;

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), "smoke-tests-run-"));
    await chmod(folder, 0o755);
    const address = "10.77.0.21";
    // One that has signed itself is its own authority.
    const [keyFile, certFile] = [join(folder, "key.pem"), join(folder, "cert.pem")];
    const request = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=zookeeper";
    const names = ["-addext", `subjectAltName=IP:${address}`, "-keyout", keyFile, "-out", certFile];
    execFileSync("openssl", [...request.split(" "), ...names], { stdio: "pipe" });
    const [key, certificate] = await Promise.all([keyFile, certFile].map((file) => readFile(file, "utf8")));
    const packages = join(folder, "packages");
    const sees = await makeStandIns(packages);
    network = await startNetwork(join(folder, "network"), { port: 9 });
    const tls = { client: { enabled: true, certificate, private_key: key, ca: certificate } };
    const jobs = [
      { name: "zookeeper", properties: { heap_size_mb: 128, tls } },
      { name: "smoke-tests", properties: { timeout: 5, tls: { certificate, private_key: key } } },
    ];
    [node] = (await deployTogether(network, { instances: 1, jobs, packages, sees, number: 21 })) as [Node];
    await eventually("the server", () => askMember(node));
  }, 240_000);

  afterAll(async () => {
    await network?.[Symbol.asyncDispose]();
    await rm(folder, { recursive: true, force: true });
  });

  it("try both ports, and leave nothing", async () => {
    const { code, stdout, stderr } = await node.agent.errand("smoke-tests");
    expect([code, stderr]).toEqual([0, ""]);
    for (const way of ["plain", "tls"]) {
      expect(stdout).toContain(`written through ${node.machine.ip} and read through all 1 (${way})`);
    }
    expect(/^\[.*\]$/m.exec(await zkCli(node, ["ls /"]))?.[0]).toBe("[zookeeper]");
    expect(await readdir(join(node.machine.vcap, "data/smoke-tests"))).toEqual([]);
  });

  it("fail where a server does not answer", async () => {
    await node.machine.run(["/var/vcap/bosh/bin/monit", "stop", "zookeeper"]);
    await eventually("the stop", async () => ((await node.machine.run(["pgrep", "java"])).code === 0 ? null : true));
    const { code, stderr } = await node.agent.errand("smoke-tests");
    expect([code, stderr]).toEqual([1, expect.stringContaining(`do not serve (plain): ${node.machine.ip}`)]);
    expect(await readdir(join(node.machine.vcap, "data/smoke-tests"))).toEqual([]);
  });
});
