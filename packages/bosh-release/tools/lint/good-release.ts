import { createHash } from "node:crypto";
import { mkdirSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";

/** Files by path; a string is a file's text. */
export type ReleaseFiles = Record<string, string>;

const BLOB = "not really an archive\n";
const BLOB_SHA256 = createHash("sha256").update(BLOB).digest("hex");

/** A small release in which there is nothing to find, for tests that break it: each call gives a new one. */
export function goodRelease(): ReleaseFiles {
  return {
    "config/final.yml": "name: good\n",
    "config/blobs.yml": `tool/tool-1.tgz:\n  size: ${BLOB.length}\n  sha: sha256:${BLOB_SHA256}\n`,
    "blobs.json": JSON.stringify({ blobs: [{ path: "tool/tool-1.tgz", name: "tool", sha256: BLOB_SHA256 }] }),
    "blobs/tool/tool-1.tgz": BLOB,
    "src/app/main.sh": "echo running\n",
    "packages/tool/spec": "name: tool\nfiles:\n- tool/tool-*.tgz\n",
    "packages/tool/packaging": 'set -eu\ntar xzf tool/tool-*.tgz -C "$BOSH_INSTALL_TARGET"\n',
    "packages/app/spec": "name: app\ndependencies:\n- tool\nfiles:\n- app/**/*\n",
    "packages/app/packaging":
      '# What curl would fetch is in the blob.\nset -euo pipefail\n/var/vcap/packages/tool/bin/tool app >"$BOSH_INSTALL_TARGET/app"\n',
    "jobs/server/spec": `name: server
description: A server
templates:
  bin/server_ctl.erb: bin/server_ctl
  bin/pre-start.erb: bin/pre-start
  bin/common.sh.erb: bin/common.sh
  config/server.json.erb: config/server.json
packages:
- app
- tool
provides:
- name: conn
  type: server
  properties: [port]
consumes:
- name: peers
  type: server
  optional: true
properties:
  port:
    description: The port
    default: 80
  data_dir:
    description: Where data is
  old.data_dir:
    description: data_dir, as it was named
  token:
    description: What clients have to know
  limits.connections:
    description: How many connections
    default: 10
  limits.requests:
    description: How many requests
  tls:
    description: A map
    default: {}
`,
    "jobs/server/properties_schema.json": JSON.stringify({
      $schema: "https://json-schema.org/draft/2020-12/schema",
      type: "object",
      properties: {
        port: { type: "integer", minimum: 1 },
        data_dir: { type: ["string", "null"] },
        old: { type: "object", properties: { data_dir: { type: ["string", "null"] } } },
        token: { type: "string", minLength: 1 },
        limits: {
          type: "object",
          properties: { connections: { type: "integer" }, requests: { type: ["integer", "null"] } },
        },
        tls: { type: "object", properties: { ca: { type: "certificate" } } },
      },
    }),
    "jobs/server/monit": `check process server
  with pidfile /var/vcap/sys/run/server/server.pid
  start program "/var/vcap/jobs/server/bin/server_ctl start" with timeout 60 seconds
  stop program "/var/vcap/jobs/server/bin/server_ctl stop" with timeout <%= p('port') %> seconds
  group vcap
  depends on other, another # not here
  if failed host 127.0.0.1 port 80 protocol http and request "/x" with timeout 5 seconds for 3 cycles then restart
  if totalmem > 90% for 2 cycles then exec "/bin/true" as uid vcap and gid vcap
`,
    "jobs/server/templates/bin/server_ctl.erb": `<%-
  require 'json' # p('in.a.comment')
-%>
#!/bin/bash
set -euo pipefail
# <%# p('in.an.erb.comment') %>
dir=<%= Shellwords.escape(p(['data_dir', 'old.data_dir'], '/var/vcap/store')) %>
. /var/vcap/jobs/server/bin/common.sh
<% if_link('peers') do |peers| -%>
peers="<%= Integer(peers.p('port')) %> <%= peers.instances.map { |i| i.address }.join(' ').shellescape %>"
<% end -%>
exec /var/vcap/packages/app/app "$dir"
`,
    "jobs/server/templates/bin/pre-start.erb": "#!/bin/bash\n\nexec mkdir -p /var/vcap/sys/run/server\n",
    "jobs/server/templates/bin/common.sh.erb": "# shellcheck shell=bash\nlog() { echo; }\n",
    "jobs/server/templates/config/server.json.erb": `<%=
  given = lambda { |*names| p(names, nil) }
  limits = %w[connections requests].map { |name| [name, given.call("limits.#{name}")] }.to_h
  text = <<~EOS
    #{p('token')}
  EOS
  JSON.pretty_generate('limits' => limits, 'text' => text, 'port' => p('port') / 1, 'tls' => p('tls'))
%>
`,
    "jobs/client/spec": `name: client
templates:
  run.erb: bin/run
consumes:
- name: conn
  type: server
`,
    "jobs/client/monit": "",
    "jobs/client/templates/run.erb": `#!/bin/bash
set +e -u
echo <%= Integer(link('conn').p('port')) %>
`,
    "manifests/good.yml": `name: good
instance_groups:
- name: servers
  jobs:
  - name: server
    release: good
    properties:
      port: 81
      limits:
        requests: 1
      tls: { ca: ((ca)) }
    consumes:
      peers: nil
  - name: bpm
    release: bpm
    properties: { any: thing }
`,
    "manifests/operations/change.yml": `- type: replace
  path: /instance_groups/name=servers/jobs/name=server/properties/limits?/connections
  value: 5
- type: replace
  path: /instance_groups/name=servers/jobs/name=server/properties/limits?
  value: { requests: 7 }
- type: replace
  path: /instance_groups/name=servers/jobs/-
  value: { name: client, release: good }
- type: remove
  path: /instance_groups/name=servers/jobs/name=server/properties/tls/ca
- type: replace
  path: /releases/name=good
  value: { name: good, version: latest }
`,
  };
}

/** Writes a release into a folder. */
export function writeRelease(into: string, files: ReleaseFiles): void {
  for (const [path, text] of Object.entries(files)) {
    mkdirSync(dirname(join(into, path)), { recursive: true });
    writeFileSync(join(into, path), text);
  }
}
