/** Every rule of the linter: its id, which is stable, and what to do about a finding of it. */
export const RULES = {
  // What is read.
  "file-unreadable": "Make it a regular UTF-8 file of less than 1 MiB.",
  "too-many-files": "Keep only what the release needs below this folder.",
  "yaml-invalid": "Correct the YAML: the CLI and the Director read it with parsers that differ where it is not clean.",
  "json-invalid": "Correct the JSON.",
  "secret-in-release": "Take the secret out of the release, and revoke it: give it by a manifest variable.",

  // jobs/*/spec
  "spec-missing": "Add the file spec.",
  "spec-shape": "Give the key the type that BOSH reads.",
  "spec-unknown-key": "Correct or remove the key: BOSH ignores it silently.",
  "name-mismatch": "Give the spec the name of its folder.",
  "name-invalid": "Use only letters, digits, and - _ + .",
  "package-unknown": "Add the package below packages/, or remove it from the list.",
  "package-not-listed": "List the package in the spec: no other job or package has to bring it.",

  // Properties
  "property-undeclared": "Declare the property in the job's spec: a template sees no other.",
  "property-unused": "Use the property in a template, export it by a link, or remove it.",
  "property-description": "Describe the property: meaning, unit, and what happens without it.",
  "property-prefix": "Rename one of them: a property cannot be both a value and a map of others.",
  "property-alias-default":
    "Remove the default of the earlier name, and give it in the template: it hides the later names.",
  "property-old-syntax": "Use p() or if_p(): `properties.a.b` gives nil for what is misspelt.",
  "secret-default": "Remove the default: a secret in a release is known to all.",

  // properties_schema.json
  "schema-missing": "Add a properties_schema.json for the job's properties.",
  "schema-invalid": "Correct the schema: the Director refuses every deploy with it.",
  "schema-dialect":
    'Say "$schema": "https://json-schema.org/draft/2020-12/schema", the only one that the Director takes.',
  "schema-property-missing": "Describe the property in properties_schema.json.",
  "schema-property-unknown": "Remove it from properties_schema.json, or declare it in the spec.",
  "schema-null": 'Allow null as well, as in "type": ["string", "null"]: so a Director sees a property that is not set.',
  "schema-default": "Make the default and the schema agree: no deploy that leaves it out would pass.",
  "schema-required": "Remove `required`: declared properties are always there; refuse null by the type instead.",

  // Templates
  "template-missing": "Add the template, or remove it from the spec.",
  "template-unlisted": "List the template in the spec, or remove it: it is not packed.",
  "template-destination": "Give each template a relative destination of its own inside of the job.",
  "erb-syntax": "Correct the template: the Director finds it only at a deploy.",

  // Links
  "link-shape": "Write provides and consumes as lists of maps with a name and a type, each name once.",
  "link-optional": "Write `optional: true` on consumed links only, as a boolean.",
  "link-property-undeclared": "Declare the exported property in this job's spec.",
  "link-undeclared": "Declare the link in the spec's `consumes`.",
  "link-unused": "Use the link in a template, or do not consume it.",
  "link-not-guarded": "Use if_link(): the link is optional, and link() fails where it is absent.",
  "link-property-not-exported": "Export the property in the `provides` of the job that provides the link.",

  // monit
  "monit-missing": "Add a file monit, an empty one if the job has no process: the Director refuses the release.",
  "monit-group": "Add `group vcap` to the process: the agent starts, stops and watches no other.",
  "monit-duplicate-process": "Give each process a name of its own: monit refuses its whole configuration otherwise.",
  "monit-syntax": "Use only what monit 5.2.5 of the stemcells knows.",
  "monit-program": "Give the start and the stop program the path of a script that this job renders.",
  "monit-pidfile": "Keep pid files below /var/vcap/sys/run/.",

  // Scripts of jobs
  "script-shebang": "Begin the script with a shebang, before which no ERB tag leaves a line.",
  "script-set-e": "Begin the script with `set -e`, or with `set +e` if it looks after every failure itself.",
  "script-trace": "Remove the tracing: it writes secrets into logs.",
  "script-secret": "Leave the secret in a file of config/, and have the program read that.",
  "script-unquoted": "Put it into the script by Shellwords.escape, or as a number by Integer().",
  "script-lifecycle-name": "Use the exact name: BOSH runs no other.",

  // packages/
  "package-unused": "List the package in a job or in another package, or remove it.",
  "dependency-unknown": "Add the package below packages/, or remove it from the dependencies.",
  "dependency-cycle": "Break the cycle: the Director refuses the release.",
  "packaging-missing": "Add the script packaging.",
  "packaging-set-eu": "Begin the script with `set -eu`: otherwise a half made package counts as compiled.",
  "packaging-network": "Take it from a blob: compilation VMs have no way to the internet.",
  "packaging-trace": "Remove it: the agent runs the script with `bash -x` as it is, and its log is kept.",
  "files-no-match": "Correct the pattern, or add the files to src/ or blobs/.",
  "source-symlink": "Make it real files inside of src/: what is behind it is not packed.",

  // Blobs and config/
  "blobs-shape": "Write the entry as the CLI does: path, size, and sha: sha256:DIGEST.",
  "blobs-disagree": "Make blobs.json and config/blobs.yml agree: they describe the same files.",
  "blob-digest": "Fetch the blob again, or correct its digest: the CLI packs whatever is there, silently.",
  "blob-untracked": "Add the file to config/blobs.yml, or delete it: the CLI deletes it.",
  "blob-symlink": "Make it a regular file: the CLI refuses symlinks below blobs/.",
  "blob-unused": "Use the blob in a package, or remove it.",
  "blob-not-uploaded": "Run `bosh upload-blobs`: nobody else can build the release without.",
  "final-name": "Give config/final.yml either `name` or `final_name`.",
  "final-credentials": "Move it to config/private.yml, which is not committed.",
  "final-builds":
    "Remove .final_builds, or configure the blobstore: without its archives no fresh checkout can be built.",

  // manifests/
  "manifest-shape": "Correct the manifest or the ops file.",
  "manifest-job-unknown": "Name a job of this release.",
  "manifest-property-undeclared": "Correct the property's name: the Director drops what no job declares.",
  "manifest-link-unknown": "Name a link of the job's spec.",
} as const satisfies Record<string, string>;

/** The id of a rule. */
export type RuleId = keyof typeof RULES;

/** One thing that is wrong with a release. */
export interface Finding {
  readonly rule: RuleId;
  /** Relative to the release directory. */
  readonly file: string;
  /** From 1; null where it is about the file as a whole. */
  readonly line: number | null;
  readonly problem: string;
  readonly remedy: string;
}
