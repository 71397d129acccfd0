import { existsSync, readdirSync, readFileSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";
import { readJobSpec } from "../testing/director.ts";
import { readBlobs } from "../tools/blobs.ts";

const RELEASE = fileURLToPath(new URL("..", import.meta.url));
const ROOT = join(RELEASE, "..", "..");
const DOCS = ["README.md", "docs/migration.md", "docs/runbook.md", "docs/tls.md", "docs/releasing.md"];
const JOBS = readdirSync(join(RELEASE, "jobs"));
const SPECS = JOBS.map((job) => readJobSpec(job));

function read(path: string): string {
  return readFileSync(join(RELEASE, path), "utf8");
}

/** The cells of a table that stands between two comments. */
function table(path: string, name: string): readonly (readonly string[])[] {
  const text = new RegExp(`<!-- ${name}:begin -->(.*)<!-- ${name}:end -->`, "s").exec(read(path))?.[1] ?? "";
  const rows = text.split("\n").filter((line) => line.startsWith("|"));
  return rows.slice(2).map((row) =>
    row
      .split("|")
      .slice(1, -1)
      .map((cell) => cell.trim()),
  );
}

/** What stands between backticks. */
function code(text: string): readonly string[] {
  return [...text.matchAll(/`([^`\n]+)`/g)].map(([, inside]) => inside ?? "");
}

const declared = new Set(SPECS.flatMap(({ properties }) => Object.keys(properties)));
const deprecated = SPECS.flatMap(({ properties }) =>
  Object.entries(properties).filter(([, { description = "" }]) => description.startsWith("Deprecated")),
).map(([name]) => name);

describe("the properties in the README", () => {
  const rows = table("README.md", "properties");

  it("are there", () => expect(rows.length).toBeGreaterThan(10));

  it.each(rows)("%s: %s are declared, with the default %s", (job, names, byDefault) => {
    const { properties } = readJobSpec(code(job ?? "")[0] ?? "");
    expect(code(names ?? "")).not.toEqual([]);
    for (const name of code(names ?? "")) {
      expect(Object.keys(properties)).toContain(name);
      const value = properties[name]?.default;
      if (["string", "number", "boolean"].includes(typeof value)) expect(byDefault).toContain(String(value));
    }
  });
});

describe("the migration guide", () => {
  const rows = table("docs/migration.md", "migration");

  it("has every deprecated property once", () => {
    expect(deprecated.length).toBeGreaterThan(15);
    expect(rows.map(([old]) => code(old ?? "")[0]).toSorted()).toEqual(deprecated.toSorted());
  });

  it.each(rows)("replaces %s by %s, as its description in the spec does", (old, today) => {
    const name = code(old ?? "")[0] ?? "";
    const { properties, consumes } = SPECS.find((spec) => name in spec.properties) ?? readJobSpec("zookeeper");
    const known = [...Object.keys(properties), ...consumes.map((link) => link.name), "azs"];
    for (const word of code(today ?? "")) expect(known).toContain(word);
    const replacement = /use `([^`]+)`/.exec(properties[name]?.description ?? "")?.[1] ?? "";
    expect(today === "the link `peers`" || today?.includes("`myids`") || today === `\`${replacement}\``).toBe(true);
  });
});

describe.each(DOCS)("%s", (path) => {
  const text = read(path);

  it("names only properties that a job declares", () => {
    const tops = new Set([...declared].map((name) => name.split(".")[0] ?? ""));
    const names = code(text).filter(
      (word) => /^[a-z0-9_]+(\.[A-Za-z0-9_]+)+$/.test(word) && tops.has(word.split(".")[0] ?? ""),
    );
    const unknown = names.filter(
      (name) => !declared.has(name) && ![...declared].some((one) => one.startsWith(`${name}.`)),
    );
    // A file, not a property.
    expect(unknown.filter((name) => !/\.(json|yml|sh|pem|log)$/.test(name))).toEqual([]);
  });

  it("names only files of the jobs that there are", () => {
    for (const [, job = "", file = ""] of text.matchAll(/\/var\/vcap\/jobs\/([\w-]+)\/((?:bin|config)\/[\w./-]*\w)/g)) {
      expect(Object.values(readJobSpec(job).templates), `${job}/${file}`).toContain(file);
    }
  });

  it("names only npm scripts that there are", () => {
    const { scripts } = JSON.parse(readFileSync(join(ROOT, "package.json"), "utf8"));
    for (const [, script] of text.matchAll(/npm run ([\w:]+)/g)) expect(Object.keys(scripts)).toContain(script);
  });

  it("has links that lead somewhere", () => {
    for (const [, target = ""] of text.matchAll(/\]\(([^)\s]+)\)/g)) {
      if (target.includes("://")) continue;
      const [file = "", anchor] = target.split("#");
      const linked = file === "" ? path : join(dirname(path), file);
      expect(existsSync(join(RELEASE, linked)), target).toBe(true);
      if (anchor !== undefined) expect(anchorsOf(read(linked)), target).toContain(anchor);
    }
  });
});

/** As code hosts make them of headings. */
function anchorsOf(text: string): readonly string[] {
  return [...text.matchAll(/^#+ (.*)$/gm)].map(([, heading = ""]) =>
    heading
      .toLowerCase()
      .replaceAll(/[^\w\- ]/g, "")
      .replaceAll(" ", "-"),
  );
}

describe("the runbook", () => {
  it("quotes what the jobs' scripts say", () => {
    const scripts = [
      ...SPECS.flatMap(({ name, templates }) => Object.keys(templates).map((file) => `jobs/${name}/templates/${file}`)),
      "src/zookeeper-member/member.sh",
    ].map(read);
    // Sentences go over several lines there.
    const said = scripts.join("\n").replaceAll(/" \\\n\s*"/g, " ");
    const rows = [...read("docs/runbook.md").matchAll(/^\| (`[^|]*`) +\| [^|]*\|$/gm)].map(([, cell = ""]) => cell);
    const quotes = rows.flatMap(code).filter((quote) => !quote.startsWith("ERR_"));
    expect(quotes.length).toBeGreaterThan(15);
    for (const quote of quotes) {
      // Values are `A`, `N`, `ID` or `...` in the quotes.
      for (const part of quote.split(/ ?(?:\.\.\.|\b(?:[A-Z]|ID)\b),? ?/)) expect(said, quote).toContain(part);
    }
  });

  it("explains codes that there are, among them all of backups and stores", () => {
    const known = new Set(
      code(readFileSync(join(ROOT, "packages/core/src/errors.ts"), "utf8")).filter((one) => one.startsWith("ERR_")),
    );
    const daemon = readFileSync(join(ROOT, "docs/http.md"), "utf8");
    const explained = table("docs/runbook.md", "errors")
      .flatMap(([cell = ""]) => code(cell))
      .filter((one) => one.startsWith("ERR_"));
    for (const one of explained) expect(known.has(one) || daemon.includes(one), one).toBe(true);
    for (const one of known) if (/^ERR_(SINK|SOURCE|NODE|STOP)_/.test(one)) expect(explained).toContain(one);
  });
});

describe("the README", () => {
  it("names every ops file and every job", () => {
    const readme = read("README.md");
    for (const file of readdirSync(join(RELEASE, "manifests", "operations"))) {
      expect(readme).toContain(`[${basename(file, ".yml")}](manifests/operations/${file})`);
    }
    for (const job of JOBS) expect(readme).toContain(`[\`${job}\`](jobs/${job}/spec)`);
  });
});

describe("NOTICE", () => {
  it("names every blob by its licence, and nothing else", () => {
    const listed = new Map<string, string[]>();
    let licence = "";
    for (const line of read("NOTICE").split("\n")) {
      const row = /^ {2}(\S.*?)? {2,}(\S.*)$/.exec(line);
      if (row === null || row[1] === "Licence") continue;
      licence = row[1] ?? licence;
      const names = (row[2] ?? "").split(", as Debian")[0]?.split(/,\s*/) ?? [];
      listed.set(licence, [
        ...(listed.get(licence) ?? []),
        ...names.filter((name) => name !== "" && !name.includes(" ")),
      ]);
    }
    const blobs = new Map<string, string[]>();
    for (const blob of readBlobs(RELEASE)) blobs.set(blob.licence, [...(blobs.get(blob.licence) ?? []), blob.name]);
    const sorted = (map: Map<string, string[]>) => [...map].map(([key, names]) => [key, names.toSorted()]).toSorted();
    expect(sorted(listed)).toEqual(sorted(blobs));
  });
});
