import { spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { goodRelease, type ReleaseFiles, writeRelease } from "./good-release.ts";
import { lintRelease } from "./lint.ts";
import { RULES, type RuleId } from "./rules.ts";

const SPEC = "jobs/server/spec";
const SCHEMA = "jobs/server/properties_schema.json";
const MONIT = "jobs/server/monit";
const CTL = "jobs/server/templates/bin/server_ctl.erb";
const CONFIG = "jobs/server/templates/config/server.json.erb";
const CLIENT = "jobs/client/spec";
const RUN = "jobs/client/templates/run.erb";
const MANIFEST = "manifests/good.yml";
const OPERATIONS = "manifests/operations/change.yml";

let folder: string;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "bosh-lint-"));
});

afterEach(() => {
  vi.unstubAllEnvs();
  rmSync(folder, { recursive: true, force: true });
});

/** What is wrong with a release, as "rule file:line". */
async function lint(files: ReleaseFiles): Promise<string[]> {
  writeRelease(folder, files);
  const { findings } = await lintRelease(folder);
  return findings.map(({ rule, file, line }) => `${rule} ${file}${line === null ? "" : `:${line}`}`);
}

type Change = (files: ReleaseFiles) => void;

function replace(file: string, text: string | RegExp, by: string): Change {
  return (files) => {
    const before = files[file] ?? "";
    const after = before.replace(text, by);
    if (after === before) throw new Error(`${file} has no ${text}`);
    files[file] = after;
  };
}

function remove(file: string): Change {
  return (files) => {
    delete files[file];
  };
}

function add(file: string, text: string): Change {
  return (files) => {
    files[file] = (files[file] ?? "") + text;
  };
}

function all(...changes: Change[]): Change {
  return (files) => {
    for (const change of changes) change(files);
  };
}

// Each breaks the good release in one way: what is found then, and nothing else.
const BROKEN: [string, Change, ...`${RuleId} ${string}`[]][] = [
  // The spec of a job
  ["a job without spec", remove(CLIENT), `spec-missing ${CLIENT}`, `manifest-job-unknown ${OPERATIONS}:9`],
  ["a spec that is a list", add("jobs/third/spec", "- a\n"), "spec-shape jobs/third/spec"],
  [
    "templates as a list",
    replace(CLIENT, "templates:\n  run.erb: bin/run", "templates: [run.erb]"),
    `spec-shape ${CLIENT}:2`,
    `link-unused ${CLIENT}:4`,
  ],
  ["packages as a text", replace(CLIENT, "templates:", "packages: app\ntemplates:"), `spec-shape ${CLIENT}:2`],
  [
    "a property that is no map",
    replace(SPEC, "  tls:\n    description: A map\n    default: {}", "  tls:"),
    `spec-shape ${SPEC}:34`,
  ],
  ["a property with an empty part", add(SPEC, "  a..b: { description: x }\n"), `spec-shape ${SPEC}:37`],
  ["an unknown key", replace(SPEC, "packages:", "template: {}\npackages:"), `spec-unknown-key ${SPEC}:8`],
  ["an unknown key of a property", replace(SPEC, "default: 80", "defualt: 80"), `spec-unknown-key ${SPEC}:22`],
  [
    "an unknown key of a link",
    replace(CLIENT, "type: server", "type: server\n  form: x"),
    `spec-unknown-key ${CLIENT}:7`,
  ],
  ["a name that is not the folder's", replace(CLIENT, "name: client", "name: cleint"), `name-mismatch ${CLIENT}:1`],
  [
    "a name that the Director refuses",
    all(add("jobs/a b/spec", "name: a b\n"), add("jobs/a b/monit", "")),
    "name-invalid jobs/a b/spec:1",
  ],
  ["a package that is not there", replace(SPEC, "- tool", "- tool\n- tol"), `package-unknown ${SPEC}:11`],
  ["a template that is not there", remove("jobs/server/templates/bin/common.sh.erb"), `template-missing ${SPEC}:6`],
  [
    "a template that no spec lists",
    add("jobs/server/templates/bin/other.erb", "x"),
    "template-unlisted jobs/server/templates/bin/other.erb",
  ],
  [
    "two templates for one file",
    replace(SPEC, "bin/common.sh.erb: bin/common.sh", "bin/common.sh.erb: bin/./pre-start"),
    `template-destination ${SPEC}:6`,
    "script-shebang jobs/server/templates/bin/common.sh.erb:1",
  ],
  [
    "a template that leaves the job",
    replace(SPEC, "config/server.json\n", "../server.json\n"),
    `template-destination ${SPEC}:7`,
  ],
  [
    "a template in the place of monit",
    replace(SPEC, "config/server.json\n", "monit\n"),
    `template-destination ${SPEC}:7`,
  ],

  // Properties
  [
    "a property without description",
    replace(SPEC, "    description: The port\n", ""),
    `property-description ${SPEC}:20`,
  ],
  [
    "a property within a property",
    all(add(SPEC, "  tls.ca: { description: x }\n"), add(CONFIG, "<%= p('tls.ca') %>")),
    `property-prefix ${SPEC}:37`,
    `schema-default ${SCHEMA}`,
    `schema-property-missing ${SCHEMA}`,
  ],
  [
    "a secret with a default",
    replace(SPEC, "What clients have to know", "What clients have to know\n    default: letmein"),
    `secret-default ${SPEC}:27`,
  ],
  [
    "a property that the spec does not declare",
    add(CONFIG, "\n<%= p('prot') %>\n"),
    `property-undeclared ${CONFIG}:10`,
  ],
  [
    "one of a list of names",
    add(CONFIG, "<%= p(%w[port port.number prot], 1) %>"),
    `property-alias-default ${CONFIG}:9`,
    `property-undeclared ${CONFIG}:9`,
  ],
  ["one of if_p", add(CONFIG, '<% if_p("port", "prot") do |a, b| %><% end %>'), `property-undeclared ${CONFIG}:9`],
  ["one of else_if_p", add(CONFIG, "<% if_p('port') { }.else_if_p('prot') { } %>"), `property-undeclared ${CONFIG}:9`],
  ["one in a string", add(CONFIG, `<%= "a\${x} #{p 'prot'}" %>`), `property-undeclared ${CONFIG}:9`],
  [
    "one in a heredoc",
    replace(CONFIG, "#{p('token')}", "#{p('token')} #{p('prot')}"),
    `property-undeclared ${CONFIG}:5`,
  ],
  [
    "one after a regular expression",
    add(CONFIG, "<%= 'a'.sub(/['\"]/, '') + p('prot') %>"),
    `property-undeclared ${CONFIG}:9`,
  ],
  ["one in monit", replace(MONIT, "p('port')", "p('prot')"), `property-undeclared ${MONIT}:4`],
  [
    "one that a function of the template asks for",
    replace(CONFIG, "  text =", "  given.call('limits.conections')\n  text ="),
    `property-undeclared ${CONFIG}:4`,
  ],
  ["an interpolated one that can be none", add(CONFIG, '<%= p("limit.#{x}") %>'), `property-undeclared ${CONFIG}:9`],
  ["a property that no template asks for", replace(CONFIG, "'tls' => p('tls')", ""), `property-unused ${SPEC}:34`],
  [
    "a property that nothing interpolates",
    replace(CONFIG, "%w[connections requests]", "%w[requests]"),
    `property-unused ${SPEC}:29`,
  ],
  [
    "a default that hides the later name",
    replace(SPEC, "Where data is", "Where data is\n    default: /data"),
    `property-alias-default ${CTL}:7`,
  ],
  [
    "a default that hides a fallback to an older name",
    replace(CONFIG, "'port' => p('port')", "'port' => p('port', p('token'))"),
    `property-alias-default ${CONFIG}:7`,
  ],
  [
    "a property as it was asked for long ago",
    add(CONFIG, "<%= properties.limits.connections %>"),
    `property-old-syntax ${CONFIG}:9`,
  ],

  // properties_schema.json
  ["properties without a schema", remove(SCHEMA), `schema-missing ${SCHEMA}`],
  ["a schema that is no JSON", add(SCHEMA, "}"), `json-invalid ${SCHEMA}`],
  ["a schema that is none", replace(SCHEMA, '"type":"integer"', '"type":"intger"'), `schema-invalid ${SCHEMA}`],
  [
    "a schema that is a list",
    (files) => {
      files[SCHEMA] = "[]";
    },
    `schema-invalid ${SCHEMA}`,
  ],
  [
    "a schema that leads to nowhere",
    replace(SCHEMA, '{"type":"integer"}', '{"$ref":"#/$defs/x"}'),
    `schema-invalid ${SCHEMA}`,
  ],
  ["an older dialect", replace(SCHEMA, "draft/2020-12", "draft/2019-09"), `schema-dialect ${SCHEMA}`],
  [
    "a property that the schema leaves out",
    replace(SCHEMA, '"token":{"type":"string","minLength":1},', ""),
    `schema-property-missing ${SCHEMA}`,
  ],
  [
    "a property of the schema alone",
    replace(SCHEMA, '"connections":', '"conections":{},"connections":'),
    `schema-property-unknown ${SCHEMA}`,
  ],
  ["null that does not pass", replace(SCHEMA, '["string","null"]', '"string"'), `schema-null ${SCHEMA}`],
  [
    "a schema by reference",
    all(
      replace(
        SCHEMA,
        /"old":(\{"type":"object","properties":\{"data_dir":[^}]*\}\}\})/,
        '"old":{"$ref":"#/$defs/old"}',
      ),
      replace(SCHEMA, '"type":"object"', '"$defs":{"old":{"properties":{"dir":{}}}},"type":"object"'),
    ),
    `schema-property-missing ${SCHEMA}`,
    `schema-property-unknown ${SCHEMA}`,
  ],
  ["a default that does not pass", replace(SPEC, "default: 80", "default: 0"), `schema-default ${SCHEMA}`],
  ["a default that is no number in YAML 1.1", replace(SPEC, "default: 80", "default: no"), `schema-default ${SCHEMA}`],
  ["required", replace(SCHEMA, '"type":"object"', '"type":"object","required":["token"]'), `schema-required ${SCHEMA}`],

  // Links
  [
    "links that are no list",
    replace(CLIENT, "- name: conn\n  type: server", "  conn: server"),
    `link-shape ${CLIENT}:4`,
    `link-undeclared ${RUN}:3`,
  ],
  [
    "consumes: 7",
    replace(CLIENT, /consumes:[\s\S]*/, "consumes: 7\n"),
    `link-shape ${CLIENT}:4`,
    `link-undeclared ${RUN}:3`,
  ],
  [
    "a link without type",
    replace(CLIENT, "  type: server\n", ""),
    `link-shape ${CLIENT}:5`,
    `link-undeclared ${RUN}:3`,
  ],
  ["a link twice", add(CLIENT, "- name: conn\n  type: server\n"), `link-shape ${CLIENT}:7`],
  [
    "exported properties that are no list",
    replace(SPEC, "properties: [port]", "properties: port"),
    `link-shape ${SPEC}:12`,
    `link-property-not-exported ${RUN}:3`,
    `link-property-not-exported ${CTL}:10`,
  ],
  [
    "a provided link that is optional",
    replace(SPEC, "properties: [port]", "properties: [port]\n  optional: true"),
    `link-optional ${SPEC}:12`,
  ],
  ["optional as a text", replace(SPEC, "optional: true", 'optional: "yes"'), `link-optional ${SPEC}:16`],
  [
    "an exported property that is not declared",
    replace(SPEC, "properties: [port]", "properties: [port, prot]"),
    `link-property-undeclared ${SPEC}:14`,
  ],
  [
    "a link that is not consumed",
    replace(RUN, "link('conn')", "link('con')"),
    `link-undeclared ${RUN}:3`,
    `link-unused ${CLIENT}:5`,
  ],
  [
    "an optional link without if_link",
    replace(CTL, "if_link('peers') do", "link('peers').tap do"),
    `link-not-guarded ${CTL}:9`,
  ],
  [
    "a property that the link does not have",
    replace(RUN, "p('port')", "p('data_dir')"),
    `link-property-not-exported ${RUN}:3`,
  ],
  [
    "a property that the instances of a link do not have",
    replace(CTL, "i.address", "i.p('data_dir')"),
    `link-property-not-exported ${CTL}:10`,
  ],

  // Templates and monit
  ["a tag without end", add(RUN, "<% if true"), `erb-syntax ${RUN}:4`],
  ["a job without monit", remove("jobs/client/monit"), "monit-missing jobs/client/monit"],
  ["a process that is in no group", replace(MONIT, "  group vcap\n", ""), `monit-group ${MONIT}:1`],
  ["a process in another group", replace(MONIT, "group vcap", "group root"), `monit-group ${MONIT}:1`],
  [
    "two processes of one name",
    all(replace("jobs/client/monit", "", "check process server\n  group vcap\n")),
    `monit-duplicate-process ${MONIT}:1`,
  ],
  [
    "restart program",
    replace(MONIT, "  group vcap", '  restart program "/var/vcap/jobs/server/bin/server_ctl restart"\n  group vcap'),
    `monit-syntax ${MONIT}:5`,
  ],
  [
    "check program",
    add(MONIT, 'check program x with path "/bin/true"\n'),
    `monit-syntax ${MONIT}:9`,
    `monit-syntax ${MONIT}:9`,
  ],
  ["a word that monit 5.2.5 has not", add(MONIT, "  if uptime > 3 days then alert\n"), `monit-syntax ${MONIT}:9`],
  ["a time of cron", add(MONIT, '  every "* * * * *"\n'), `monit-syntax ${MONIT}:9`],
  ["a script that is not rendered", replace(MONIT, "server_ctl start", "server-ctl start"), `monit-program ${MONIT}:3`],
  [
    "a script of another job",
    replace(MONIT, "jobs/server/bin/server_ctl stop", "jobs/client/bin/run"),
    `monit-program ${MONIT}:4`,
  ],
  ["a pid file elsewhere", replace(MONIT, "/var/vcap/sys/run/", "/run/"), `monit-pidfile ${MONIT}:1`],

  // Scripts of jobs
  ["a script without shebang", replace(RUN, "#!/bin/bash\n", ""), `script-shebang ${RUN}:1`],
  ["a script with a line before its shebang", replace(CTL, "-%>", "%>"), `script-shebang ${CTL}:3`],
  ["a script that goes on after errors", replace(RUN, "set +e -u", "set -u"), `script-set-e ${RUN}`],
  ["a script that is traced", replace(CTL, "set -euo pipefail", "set -euxo pipefail"), `script-trace ${CTL}:5`],
  ["a secret in a script", add(CTL, "t=<%= p('token').shellescape %>\n"), `script-secret ${CTL}:13`],
  ["a property that the shell reads as code", add(CTL, "t=<%= p('tls') %>\n"), `script-unquoted ${CTL}:13`],
  [
    "a lifecycle script of another name",
    replace(SPEC, "bin/pre-start.erb: bin/pre-start", "bin/pre-start.erb: bin/pre_start.sh"),
    `script-lifecycle-name ${SPEC}`,
  ],
  [
    "a script of BBR's that BBR does not know",
    replace(CLIENT, "bin/run", "bin/bbr/lock"),
    `script-lifecycle-name ${CLIENT}`,
  ],
  [
    "a path of a package that the job does not list",
    replace(SPEC, "- app\n", ""),
    `package-not-listed ${CTL}:12`,
    "package-unused packages/app/spec",
  ],

  // Packages
  [
    "a package that nobody lists",
    all(add("packages/x/spec", "name: x\n"), add("packages/x/packaging", "set -eu\n")),
    "package-unused packages/x/spec",
  ],
  [
    "a dependency that is not there",
    replace("packages/app/spec", "- tool", "- tool\n- tol"),
    "dependency-unknown packages/app/spec:4",
  ],
  [
    "packages that depend on each other",
    add("packages/tool/spec", "dependencies: [app]\n"),
    "dependency-cycle packages/app/spec",
  ],
  [
    "a package that depends on itself",
    replace("packages/app/spec", "- tool", "- tool\n- app"),
    "dependency-cycle packages/app/spec",
  ],
  ["a package without packaging", remove("packages/tool/packaging"), "packaging-missing packages/tool/packaging"],
  [
    "a packaging script without -u",
    replace("packages/tool/packaging", "set -eu", "set -e"),
    "packaging-set-eu packages/tool/packaging",
  ],
  [
    "a packaging script without anything",
    replace("packages/tool/packaging", "set -eu\n", ""),
    "packaging-set-eu packages/tool/packaging",
  ],
  ...["curl -O https://x", "if ! wget x; then", "sudo apt-get update", "(npm ci)", "x=$(git clone x)"].map(
    (command): [string, Change, `${RuleId} ${string}`] => [
      `packaging with ${command}`,
      add("packages/tool/packaging", `${command}\n`),
      "packaging-network packages/tool/packaging:3",
    ],
  ),
  [
    "a packaging script that is traced",
    add("packages/tool/packaging", "set -x\n"),
    "packaging-trace packages/tool/packaging:3",
  ],
  [
    "a packaging script that needs what is no dependency",
    replace("packages/app/spec", "dependencies:\n- tool\n", ""),
    "package-not-listed packages/app/packaging:3",
  ],
  [
    "a pattern that matches nothing",
    replace("packages/app/spec", "app/**/*", "app/**/*\n- app/*.js"),
    "files-no-match packages/app/spec:6",
  ],
  [
    "files that are no list",
    replace("packages/app/spec", "files:\n- app/**/*", "files: app/**/*"),
    "spec-shape packages/app/spec:4",
  ],

  // Blobs and config/
  [
    "no config/blobs.yml",
    remove("config/blobs.yml"),
    "blob-untracked blobs/tool/tool-1.tgz",
    "blobs-disagree blobs.json",
    "blobs-shape config/blobs.yml",
    "files-no-match packages/tool/spec:3",
  ],
  [
    "a digest of SHA-1",
    replace("config/blobs.yml", /sha256:.*/, "0123456789012345678901234567890123456789"),
    "blob-untracked blobs/tool/tool-1.tgz",
    "blobs-disagree blobs.json",
    "blobs-shape config/blobs.yml:1",
    "files-no-match packages/tool/spec:3",
  ],
  [
    "a blob elsewhere",
    add("config/blobs.yml", `../x:\n  size: 1\n  sha: sha256:${"0".repeat(64)}\n`),
    "blobs-shape config/blobs.yml:4",
  ],
  [
    "blobs.json with a blob of its own",
    replace("blobs.json", "[", `[{"path":"x","sha256":"${"0".repeat(64)}"},`),
    "blobs-disagree blobs.json",
  ],
  [
    "blobs.json with another digest",
    replace("blobs.json", /"sha256":"[^"]*"/, `"sha256":"${"0".repeat(64)}"`),
    "blobs-disagree blobs.json",
  ],
  [
    "blobs.json without list",
    (files) => {
      files["blobs.json"] = "7";
    },
    "blobs-shape blobs.json",
  ],
  ["a blob that was changed", replace("blobs/tool/tool-1.tgz", "not", "yes"), "blob-digest blobs/tool/tool-1.tgz"],
  ["a blob that was cut", replace("blobs/tool/tool-1.tgz", "\n", ""), "blob-digest blobs/tool/tool-1.tgz"],
  ["a blob that nobody knows", add("blobs/x", ""), "blob-untracked blobs/x"],
  [
    "a blob that no package has",
    all(add("config/blobs.yml", `x:\n  size: 1\n  sha: sha256:${"0".repeat(64)}\n`), remove("blobs.json")),
    "blob-unused config/blobs.yml:4",
  ],
  [
    "a blob that is not uploaded",
    add("config/final.yml", "blobstore: { provider: s3 }\n"),
    "blob-not-uploaded config/blobs.yml:1",
  ],
  [
    "no name",
    (files) => {
      files["config/final.yml"] = "--- {}\n";
    },
    "final-name config/final.yml",
  ],
  ["two names", add("config/final.yml", "final_name: better\n"), "final-name config/final.yml"],
  ["no config/final.yml", remove("config/final.yml"), "final-name config/final.yml"],
  [
    "credentials in config/final.yml",
    add("config/final.yml", "blobstore:\n  options:\n    secret_access_key: x\n"),
    "final-credentials config/final.yml:4",
  ],
  [
    "final builds that are nowhere",
    add(".final_builds/jobs/server/index.yml", "builds: {}\n"),
    "final-builds .final_builds",
  ],
  [
    "final builds in a folder that is not there",
    all(
      add(".final_builds/x", ""),
      add("config/final.yml", "blobstore:\n  provider: local\n  options: { blobstore_path: ../none }\n"),
    ),
    "blob-not-uploaded config/blobs.yml:1",
    "final-builds .final_builds",
  ],
  [
    "a private key",
    add("jobs/server/templates/config/server.json.erb", "-----BEGIN RSA PRIVATE KEY-----\n"),
    `secret-in-release ${CONFIG}:9`,
  ],
  ["a key id of Amazon", add(MANIFEST, `x: ${"AKIA"}${"Z".repeat(16)}\n`), `secret-in-release ${MANIFEST}:17`],

  // manifests/
  ["a manifest that is a text", add("manifests/x.yml", "hello\n"), "manifest-shape manifests/x.yml"],
  ["instance groups as a map", add("manifests/x.yml", "instance_groups: {}\n"), "manifest-shape manifests/x.yml:1"],
  ["an operation without path", add(OPERATIONS, "- type: replace\n"), `manifest-shape ${OPERATIONS}:15`],
  ["an operation of another type", add(OPERATIONS, "- type: add\n  path: /x\n"), `manifest-shape ${OPERATIONS}:15`],
  [
    "a job that is not there",
    replace(MANIFEST, "name: server\n", "name: sevrer\n"),
    `manifest-job-unknown ${MANIFEST}:5`,
  ],
  [
    "a property that is not there",
    replace(MANIFEST, "port: 81", "prot: 81"),
    `manifest-property-undeclared ${MANIFEST}:8`,
  ],
  [
    "a property in a map that is not there",
    replace(MANIFEST, "requests: 1", "request: 1"),
    `manifest-property-undeclared ${MANIFEST}:10`,
  ],
  [
    "an operation on a property that is not there",
    replace(OPERATIONS, "limits?/connections", "limits?/conections?"),
    `manifest-property-undeclared ${OPERATIONS}:2`,
  ],
  [
    "an operation with a property that is not there",
    replace(OPERATIONS, "requests: 7", "request: 7"),
    `manifest-property-undeclared ${OPERATIONS}:6`,
  ],
  [
    "an operation that removes what is not there",
    replace(OPERATIONS, "tls/ca", "tsl"),
    `manifest-property-undeclared ${OPERATIONS}:11`,
  ],
  [
    "an operation with a job that is not there",
    replace(OPERATIONS, "name: client", "name: cleint"),
    `manifest-job-unknown ${OPERATIONS}:9`,
  ],
  ["a link that is not there", replace(MANIFEST, "peers: nil", "peer: nil"), `manifest-link-unknown ${MANIFEST}:13`],
];

describe("the linter", () => {
  it("finds nothing in a good release", async () => {
    expect(await lint(goodRelease())).toEqual([]);
  });

  it.each(BROKEN)("finds %s", async (_, change, ...expected) => {
    // Ruby is asked elsewhere: to start it for each would take most of the time.
    vi.stubEnv("PATH", folder);
    const files = goodRelease();
    change(files);
    expect((await lint(files)).sort()).toEqual(expected.sort());
  });

  it("finds a key that is twice in a map, of which each parser takes another", async () => {
    const files = goodRelease();
    add(SPEC, "  tls: { description: y }\n")(files);
    expect(await lint(files)).toContain(`yaml-invalid ${SPEC}:37`);
  });

  it.skipIf(spawnSync("ruby", ["-v"]).status !== 0)("has Ruby look at the syntax of templates", async () => {
    const files = goodRelease();
    add(RUN, "<%= 1 + %>\n")(files);
    add(MONIT, "\n\n<% if true %>\n")(files);
    expect(await lint(files)).toEqual([`erb-syntax ${RUN}:4`, `erb-syntax ${MONIT}:12`]);
  });

  it("says so where there is no Ruby to look", async () => {
    vi.stubEnv("PATH", folder);
    writeRelease(folder, goodRelease());
    expect(await lintRelease(folder)).toEqual({
      findings: [],
      notes: ["the syntax of the templates was not checked: there is no ruby"],
    });
  });

  it.skipIf(spawnSync("git", ["--version"]).status !== 0)(
    "takes what git ignores for something to be built",
    async () => {
      const files = goodRelease();
      replace("packages/app/spec", "app/**/*", "app/**/*\n- app/dist/*.js")(files);
      files[".gitignore"] = "/src/app/dist/\n";
      spawnSync("git", ["init", "--quiet", folder]);
      writeRelease(folder, files);
      const { findings, notes } = await lintRelease(folder);
      expect(findings).toEqual([]);
      expect(notes).toEqual([expect.stringContaining('"app/dist/*.js" matches nothing yet')]);
    },
  );

  it("finds links in src/ behind which nothing is packed", async () => {
    writeRelease(folder, goodRelease());
    mkdirSync(join(folder, "src", "app", "inside"));
    symlinkSync("inside", join(folder, "src", "app", "good"));
    symlinkSync("../../packages", join(folder, "src", "app", "outside"));
    symlinkSync("none", join(folder, "src", "app", "dangling"));
    symlinkSync(join(folder, "packages"), join(folder, "src", "whole"));
    const { findings } = await lintRelease(folder);
    expect(findings.map(({ rule, file }) => `${rule} ${file}`)).toEqual([
      "source-symlink src/app/dangling",
      "source-symlink src/app/outside",
      "source-symlink src/whole",
    ]);
  });

  it("finds links in blobs/, which the CLI refuses", async () => {
    writeRelease(folder, goodRelease());
    symlinkSync("tool-1.tgz", join(folder, "blobs", "tool", "tool-2.tgz"));
    const { findings } = await lintRelease(folder);
    expect(findings.map(({ rule }) => rule)).toEqual(["blob-symlink"]);
  });

  it("reads a vendored package", async () => {
    const files = goodRelease();
    for (const file of ["packages/app/spec", "packages/app/packaging"]) delete files[file];
    files["packages/app/spec.lock"] = "name: app\nfingerprint: 0123\ndependencies: [tool]\n";
    expect(await lint(files)).toEqual([]);
  });
});

describe("what cannot be read", () => {
  it.each([
    ["YAML that is none", "a: [\n"],
    ["two documents", "--- {}\n--- {}\n"],
    [
      "aliases of aliases",
      `a: &a [x]\n${[..."bcdefghijklm"].map((name, index) => `${name}: &${name} [${Array(10).fill(`*${"abcdefghijkl"[index]}`).join(", ")}]\n`).join("")}`,
    ],
    ["YAML that is nested deeply", "[".repeat(10_000)],
    ["bytes that are no text", "\0"],
  ])("%s is a finding, wherever it is", async (_, text) => {
    const files = goodRelease();
    const broken = [
      SPEC,
      "packages/app/spec",
      "config/final.yml",
      "config/blobs.yml",
      MANIFEST,
      OPERATIONS,
      "jobs/client/monit",
    ];
    for (const file of broken) files[file] = text;
    for (const file of [SCHEMA, "blobs.json"]) files[file] = text;
    const found = await lint(files);
    for (const file of broken.slice(0, -1)) {
      expect(found).toContainEqual(expect.stringMatching(new RegExp(`^(?:yaml-invalid|file-unreadable) ${file}`)));
    }
  });

  it.each([
    ["null"],
    ["7"],
    ["[]"],
    ['"text"'],
    ["{}"],
    ["[[], {}, null]"],
    ['{"name": {}, "templates": 7, "properties": 7}'],
  ])("%s in the place of every file is a finding", async (text) => {
    const files = Object.fromEntries(Object.keys(goodRelease()).map((file) => [file, text]));
    const found = await lint(files);
    for (const file of [SPEC, CLIENT, "packages/app/spec", "config/final.yml"]) {
      expect(found).toContainEqual(expect.stringContaining(` ${file}`));
    }
  });

  it.each([
    ["jobs: 7", "instance_groups: [{jobs: 7}, 7, null]"],
    ["properties: 7", "instance_groups: [{jobs: [7, {name: 7}, {name: server, properties: 7, consumes: [7]}]}]"],
  ])("a manifest with %s", async (_, text) => {
    const files = goodRelease();
    files["manifests/x.yml"] = text;
    await expect(lint(files)).resolves.toBeInstanceOf(Array);
  });

  it("a huge file is a finding, and is not read", async () => {
    writeRelease(folder, goodRelease());
    truncateSync(join(folder, CTL), 1024 ** 4);
    const { findings } = await lintRelease(folder);
    expect(findings.map(({ rule, file }) => `${rule} ${file}`)).toContain(`file-unreadable ${CTL}`);
  });

  it.skipIf(spawnSync("mkfifo", ["--version"]).status !== 0)(
    "a named pipe is a finding, and is not waited for",
    async () => {
      writeRelease(folder, goodRelease());
      rmSync(join(folder, CTL));
      spawnSync("mkfifo", [join(folder, CTL)]);
      const { findings } = await lintRelease(folder);
      expect(findings.map(({ rule, file }) => `${rule} ${file}`)).toContain(`file-unreadable ${CTL}`);
    },
  );

  it("a folder without a release is full of findings", async () => {
    const { findings } = await lintRelease(join(folder, "none"));
    expect(findings.map(({ rule }) => rule)).toEqual(["blobs-shape", "final-name"]);
  });
});

describe("the rules", () => {
  it("are each broken by a test", () => {
    const elsewhere: RuleId[] = ["file-unreadable", "too-many-files", "yaml-invalid", "source-symlink", "blob-symlink"];
    const tested = new Set(BROKEN.flatMap(([, , ...expected]) => expected.map((each) => each.split(" ")[0])));
    expect(Object.keys(RULES).filter((rule) => !tested.has(rule))).toEqual(elsewhere);
  });

  it("are each in the documentation", () => {
    const docs = join(dirname(fileURLToPath(import.meta.url)), "..", "..", "docs", "linter.md");
    const text = readFileSync(docs, "utf8");
    expect(Object.keys(RULES).filter((rule) => !text.includes(`\`${rule}\``))).toEqual([]);
  });
});

describe("the command", () => {
  const command = join(dirname(fileURLToPath(import.meta.url)), "main.ts");

  it("ends with 0 and says so when there is nothing to find", () => {
    writeRelease(folder, goodRelease());
    const { status, stdout } = spawnSync(process.execPath, [command, folder], { encoding: "utf8" });
    expect([status, stdout.includes("0 findings")]).toEqual([0, true]);
  });

  it("ends with 1 and writes JSON that is asked for", () => {
    writeRelease(folder, goodRelease());
    writeFileSync(join(folder, "config", "final.yml"), "--- {}\n");
    const { status, stdout } = spawnSync(process.execPath, [command, "--json", folder], { encoding: "utf8" });
    expect(status).toBe(1);
    expect(JSON.parse(stdout)).toMatchObject({
      findings: [
        {
          rule: "final-name",
          file: "config/final.yml",
          line: null,
          problem: "it has no name",
          remedy: RULES["final-name"],
        },
      ],
    });
  });
});
