import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { requirePart } from "@zk-backyp/testbed";
import { defaultLoaders } from "cosmiconfig";
import { describe, expect, it } from "vitest";
import { z } from "zod";
import { createMetrics } from "../src/metrics/metrics.ts";
import { OUTCOMES } from "../src/metrics/series-gauges.ts";
import { checkTemplate, TEMPLATE_FIELDS } from "../src/notifications/template.ts";
import { EVERY_KIND, madeView } from "../src/testing/made-view.ts";
import { promtool, promtoolMissing } from "./promtool.ts";

const DOCS = join(import.meta.dirname, "../../../docs/monitoring");
/** What Prometheus puts beside our labels, and `le` of histograms. */
const OTHER_LABELS = ["job", "instance", "le"];

const readDoc = (name: string): Promise<string> => readFile(join(DOCS, name), "utf8");

interface Metric {
  readonly type: string;
  /** Null where there was no sample to see them on. */
  readonly labels: readonly string[] | null;
}

/** What a daemon with series of every kind tells. */
async function exposition(): Promise<string> {
  const view = madeView(EVERY_KIND);
  const metrics = createMetrics(view);
  view.endRun("cold", { outcome: "ok", downtimeMs: 3_000 });
  view.endRun("cold", { kind: "verify", outcome: "damaged" });
  metrics.countNotification("webhook", "failed");
  const { body } = await metrics.collect();
  metrics.close();
  return body;
}

async function exposedMetrics(): Promise<ReadonlyMap<string, Metric>> {
  const body = await exposition();
  const found = new Map<string, Metric>();
  for (const [, name = "", type = ""] of body.matchAll(/^# TYPE (\S+) (\S+)$/gm)) {
    const suffix = type === "histogram" ? "_count" : "";
    const sample = new RegExp(`^${name}${suffix}(?:\\{(.*)\\})? \\S+$`, "m").exec(body);
    const labels = [...(sample?.[1] ?? "").matchAll(/(\w+)="/g)].map(([, label = ""]) => label);
    found.set(name, { type, labels: sample === null ? null : labels.sort() });
  }
  return found;
}

/** Cells of the rows of all tables whose first cell is code. */
function tableRows(markdown: string): readonly (readonly string[])[] {
  return markdown
    .split("\n")
    .filter((line) => line.startsWith("| `"))
    .map((line) => line.slice(1, -1).split("|"))
    .map((cells) => cells.map((cell) => cell.trim()));
}

const codeIn = (cell = ""): string[] => [...cell.matchAll(/`([^`]+)`/g)].map(([, code = ""]) => code);

const panelSchema = z.looseObject({
  id: z.int().positive(),
  type: z.enum(["row", "stat", "timeseries", "state-timeline", "table"]),
  title: z.string().min(1),
  gridPos: z.strictObject({
    x: z.int().min(0).max(23),
    y: z.int().min(0),
    w: z.int().min(1).max(24),
    h: z.int().min(1),
  }),
  targets: z
    .array(
      z.looseObject({
        refId: z.string().min(1),
        expr: z.string().min(1),
        datasource: z.strictObject({ type: z.literal("prometheus"), uid: z.literal(`$\{datasource}`) }),
      }),
    )
    .default([]),
});
const dashboardSchema = z.looseObject({
  title: z.literal("zk-backyp"),
  uid: z.literal("zk-backyp"),
  schemaVersion: z.literal(39),
  templating: z.object({ list: z.array(z.looseObject({ name: z.string(), type: z.enum(["datasource", "query"]) })) }),
  panels: z.array(panelSchema).min(1),
});

async function readDashboard() {
  return dashboardSchema.parse(JSON.parse(await readDoc("grafana-dashboard.json")));
}

/** Its queries as Prometheus gets them, with the variables in their places. */
async function dashboardQueries(): Promise<readonly string[]> {
  const { panels } = await readDashboard();
  return panels
    .flatMap(({ targets }) => targets.map(({ expr }) => expr))
    .map((expr) => expr.replaceAll(/\$__(range|rate_interval)/g, "1h").replaceAll(/\$(job|series)\b/g, ".*"));
}

interface Rule {
  readonly alert: string;
  readonly expr: string;
}

async function readRules(): Promise<readonly Rule[]> {
  const content: unknown = defaultLoaders[".yaml"]("alerts.yaml", await readDoc("alerts.yaml"));
  const rule = z.looseObject({
    alert: z.string(),
    expr: z.string(),
    labels: z.strictObject({ severity: z.enum(["warning", "critical"]) }),
    annotations: z.strictObject({ summary: z.string(), description: z.string().optional() }),
  });
  const { groups } = z.object({ groups: z.array(z.object({ name: z.string(), rules: z.array(rule) })) }).parse(content);
  return groups.flatMap(({ rules }) => rules);
}

describe("docs/monitoring", () => {
  it("describes every metric that there is, as it is, and no other", async () => {
    const documented = new Map(
      tableRows(await readDoc("metrics.md"))
        .filter(([name = ""]) => name.startsWith("`zk_backyp_"))
        .map(([name, type, labels]) => [codeIn(name)[0] ?? "", { type, labels: codeIn(labels).sort() }]),
    );
    const exposed = await exposedMetrics();
    expect([...documented.keys()].sort()).toEqual([...exposed.keys()].sort());
    for (const [name, { type, labels }] of exposed) {
      expect(documented.get(name), name).toEqual({ type, labels: labels ?? documented.get(name)?.labels });
    }
    for (const [name, { labels }] of exposed) {
      if (!/_(process|nodejs)_/.test(name)) expect(labels, name).not.toBeNull();
    }
  });

  it("describes every outcome of a run", async () => {
    const [, outcomes = ""] = (await readDoc("metrics.md")).split("### Outcomes");
    const [table = ""] = outcomes.split("\n## ");
    expect(tableRows(table).flatMap(([name]) => codeIn(name))).toEqual([...OUTCOMES]);
  });

  it("asks in alerts and dashboard only for metrics and labels that there are", async () => {
    const exposed = await exposedMetrics();
    const queries = [...(await dashboardQueries()), ...(await readRules()).map(({ expr }) => expr)];
    const used = queries.flatMap((query) => [...query.matchAll(/(zk_backyp_\w+)(?:\{([^}]*)\})?/g)]);
    expect(used.length).toBeGreaterThan(30);
    for (const [text, written = "", matchers = ""] of used) {
      const base = written.replace(/_(bucket|sum|count)$/, "");
      const metric = exposed.get(written) ?? (exposed.get(base)?.type === "histogram" ? exposed.get(base) : undefined);
      expect(metric, text).toBeDefined();
      for (const [, label = ""] of matchers.matchAll(/(\w+)\s*(?:=~|!~|!=|=)/g)) {
        expect([...(metric?.labels ?? []), ...OTHER_LABELS], text).toContain(label);
      }
    }
  });

  it("has a test and a line in the README for every alert", async () => {
    const names = (await readRules()).map(({ alert }) => alert);
    expect(new Set(names).size).toBe(names.length);
    const tests = `${await readDoc("alerts.test.yaml")}${await readDoc("alerts-days.test.yaml")}`;
    const tested = [...tests.matchAll(/alertname: (\w+)/g)].map(([, name = ""]) => name);
    expect([...new Set(tested)].sort()).toEqual(names.toSorted());
    const rows = tableRows(await readDoc("README.md")).flatMap(([name]) => codeIn(name));
    expect(rows.sort()).toEqual(names.toSorted());
  });

  it("has a dashboard that Grafana can lay out, and that asks the chosen Prometheus alone", async () => {
    const { panels, templating } = await readDashboard();
    expect(templating.list.map(({ name }) => name)).toEqual(["datasource", "job", "series"]);
    expect(new Set(panels.map(({ id }) => id)).size).toBe(panels.length);
    const taken = new Set<string>();
    for (const { type, title, gridPos, targets } of panels) {
      expect(gridPos.x + gridPos.w, title).toBeLessThanOrEqual(24);
      for (let x = gridPos.x; x < gridPos.x + gridPos.w; x += 1) {
        for (let y = gridPos.y; y < gridPos.y + gridPos.h; y += 1) {
          expect(taken.has(`${x} ${y}`), `${title} lies on another panel`).toBe(false);
          taken.add(`${x} ${y}`);
        }
      }
      expect(targets.length > 0, title).toBe(type !== "row");
      expect(new Set(targets.map(({ refId }) => refId)).size).toBe(targets.length);
      for (const { expr } of targets) expect(expr, title).toContain('job=~"$job"');
    }
  });

  it("names every field of a notification, and no other", async () => {
    const [, whatIsTold = ""] = (await readDoc("notifications.md")).split("## What is told");
    const [table = ""] = whatIsTold.split("\n## ");
    expect(tableRows(table).flatMap(([name]) => codeIn(name))).toEqual([...TEMPLATE_FIELDS]);
  });

  it("has examples of webhooks that can be filled", async () => {
    const blocks = [...(await readDoc("notifications.md")).matchAll(/```yaml\n(.*?)```/gs)].map(
      ([, yaml = ""]) => yaml,
    );
    const parsed: unknown[] = blocks.map((yaml) => defaultLoaders[".yaml"]("notifications.md", yaml));
    const list = z.array(z.looseObject({ use: z.enum(["webhook", "command"]), body: z.unknown().optional() }));
    const configs = parsed.flatMap((content) =>
      list.parse(Array.isArray(content) ? content : (content as { notifications: unknown }).notifications),
    );
    expect(configs.length).toBeGreaterThan(3);
    for (const { body } of configs) if (body !== undefined) expect(checkTemplate(body)).toEqual([]);
  });
});

describe.skipIf(!requirePart(promtoolMissing()))("promtool", () => {
  it("finds nothing to say about the metrics", async () => {
    expect(promtool(["check", "metrics"], await exposition())).toEqual({ code: 0, said: "" });
  });

  it("finds the alert rules good", () => {
    expect(promtool(["check", "rules", "--lint-fatal", join(DOCS, "alerts.yaml")])).toMatchObject({ code: 0 });
  });

  it("passes the tests of the alert rules", () => {
    const tests = ["alerts.test.yaml", "alerts-days.test.yaml"].map((name) => join(DOCS, name));
    expect(promtool(["test", "rules", ...tests])).toMatchObject({ code: 0 });
  });

  it("can read every query of the dashboard", async () => {
    const rules = (await dashboardQueries()).map((expr, index) => ({ record: `dashboard:query:${index}`, expr }));
    const folder = await mkdtemp(join(tmpdir(), "zk-backyp-promtool-"));
    try {
      const file = join(folder, "rules.json");
      await writeFile(file, JSON.stringify({ groups: [{ name: "dashboard", rules }] }));
      expect(promtool(["check", "rules", file])).toMatchObject({
        code: 0,
        said: expect.stringContaining(`${rules.length} rules found`),
      });
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  });
});
