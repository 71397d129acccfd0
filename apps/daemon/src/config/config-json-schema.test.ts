import { globSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { Ajv2020, type ValidateFunction } from "ajv/dist/2020.js";
import { defaultLoaders } from "cosmiconfig";
import { beforeAll, describe, expect, it } from "vitest";
import { configJsonSchema } from "./config-json-schema.ts";

const ROOT = fileURLToPath(new URL("../../../../", import.meta.url));

let validate: ValidateFunction;
beforeAll(async () => {
  const ajv = new Ajv2020({ allErrors: true, strictTypes: false, strictRequired: false, strictTuples: false });
  ajv.addFormat("uri", URL.canParse);
  validate = ajv.compile(await configJsonSchema());
});

const parse = (text: string): unknown => defaultLoaders[".yaml"]("x.yaml", text);

/** What the schema says about a configuration: paths of what is wrong. */
function errorsIn(content: unknown): string[] {
  return validate(content)
    ? []
    : (validate.errors ?? []).map(({ instancePath, message }) => `${instancePath} ${message}`);
}

describe("the JSON Schema of configurations", () => {
  const source = { use: "zookeeper", dataDir: "/zk" };
  const sink = { use: "fs", path: "/backups" };
  const config = (series: object, more: object = {}): object => ({
    series: { a: { source, sink, ...series } },
    ...more,
  });

  it.each<[what: string, content: object]>([
    ["the shortest", config({})],
    [
      "secrets in options",
      config({ sink: { use: "s3", bucket: "bbb", accessKeyId: { env: "X" }, secretAccessKey: { file: "y" } } }),
    ],
    ["a plugin that it does not know", config({ sink: { use: "./tape.js", drive: 7, nested: { a: [1] } } })],
    ["a control", config({ source: { ...source, cold: { control: { use: "monit", service: "zk" } } }, mode: "cold" })],
    ["no HTTP", config({}, { http: false })],
    ["a helper alone", { helper: { socket: "/x" } }],
    ["its own address", { $schema: "../config.schema.json", ...config({}) }],
  ])("takes %s", (_what, content) => {
    expect(errorsIn(content)).toEqual([]);
  });

  it.each<[what: string, content: object, error: RegExp]>([
    ["a section that is not known", config({}, { htpp: false }), /additional properties/],
    ["a field that is not known", config({ retenton: {} }), /additional properties/],
    ["an option that is not known", config({ sink: { ...sink, pth: "/x" } }), /a\/sink .*additional properties/],
    ["an option of another plugin", config({ sink: { ...sink, bucket: "x" } }), /a\/sink .*additional properties/],
    ["a missing option", config({ sink: { use: "fs" } }), /a\/sink .*required property 'path'/],
    ["a secret of another form", config({ sink: { use: "fs", path: { vault: "x" } } }), /a\/sink\/path/],
    ["an interval of nothing", config({ schedule: { interval: 0 } }), /interval must be >= 1/],
    ["a control that is not known", config({ source: { ...source, cold: { control: { use: "runit" } } } }), /control/],
    ["a notification without an address", config({}, { notifications: [{ use: "webhook" }] }), /'url'/],
  ])("refuses %s", (_what, content, error) => {
    expect(errorsIn(content).join("\n")).toMatch(error);
  });
});

describe("the documentation", () => {
  const documents = globSync("{*,docs/**/*,{packages,apps,examples}/*/*}.md", { cwd: ROOT }).sort();
  const examples = documents.flatMap((name) => {
    const text = readFileSync(join(ROOT, name), "utf8");
    return [...text.matchAll(/^```ya?ml\n(.*?)^```/gms)].flatMap(([, example = ""], index) => {
      // Of alternatives, each stands on a line of its own.
      const lines = example.trimEnd().split("\n");
      const parts = lines.length > 1 && lines.every((line) => line.startsWith("control: ")) ? lines : [example];
      return parts.map((part, at) => ({ title: `${name}, example ${index + 1}.${at + 1}`, example: part }));
    });
  });
  /** Parts of a configuration are shown, too, and files of other programs. */
  const asConfig = (content: unknown): unknown => {
    const known = content as Record<string, unknown>;
    const filled = { source: { use: "zookeeper" }, sink: { use: "fs", path: "/backups" } };
    if ("series" in known || "helper" in known) return known;
    if ("control" in known) return { series: { a: { ...filled, source: { use: "zookeeper", cold: known } } } };
    if ("source" in known || "sink" in known) return { series: { a: { ...filled, ...known } } };
    if ("notifications" in known || "http" in known) return { series: { a: filled }, ...known };
    return null;
  };
  const configurations = examples
    .map(({ title, example }) => ({ title, content: asConfig(parse(example)) }))
    .filter(({ content }) => content !== null);

  const files = globSync("apps/daemon/packaging/**/*.yaml", { cwd: ROOT });
  it.each(files)("has a file that is right: %s", (name) => {
    expect(errorsIn(parse(readFileSync(join(ROOT, name), "utf8")))).toEqual([]);
  });

  it("has examples", () => {
    expect(configurations.length).toBeGreaterThan(5);
  });

  it.each(configurations)("is right about configurations: $title", ({ content }) => {
    expect(errorsIn(content)).toEqual([]);
  });
});
