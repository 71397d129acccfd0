import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { makeCertificates } from "@zk-backyp/testbed";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { schemaErrors } from "../testing/properties-schema.ts";

let releaseDir: string;
let certificate: string;

beforeAll(async () => {
  releaseDir = mkdtempSync(join(tmpdir(), "properties-schema-"));
  certificate = readFileSync((await makeCertificates(releaseDir)).caFile, "utf8");
  mkdirSync(join(releaseDir, "jobs", "job"), { recursive: true });
  const properties = { port: { default: 2181 }, bucket: {}, ca: {}, type: { default: "x" } };
  writeFileSync(join(releaseDir, "jobs", "job", "spec"), JSON.stringify({ name: "job", properties }));
  const schema = {
    $schema: "https://json-schema.org/draft/2020-12/schema",
    type: "object",
    properties: {
      port: { type: "integer" },
      bucket: { type: ["string", "null"] },
      ca: { type: ["certificate", "null"] },
      type: { type: "string" },
    },
  };
  writeFileSync(join(releaseDir, "jobs", "job", "properties_schema.json"), JSON.stringify(schema));
});

afterAll(() => rmSync(releaseDir, { recursive: true, force: true }));

describe("a job's properties", () => {
  it.each([
    ["by their defaults, and null without one", {}, []],
    ["with one that the spec does not declare, which nobody sees", { prot: "2181" }, []],
    ["of a wrong type", { port: "2181", bucket: 1 }, ["/port must be integer", "/bucket must be string,null"]],
    ["with a certificate that is empty", { ca: "" }, []],
    ["with a certificate that is none", { ca: "x" }, ['/ca must match format "certificate"']],
    ["of a wrong type under the name type", { type: 1 }, ["/type must be string"]],
  ])("%s", (_, properties, errors) => {
    expect(schemaErrors("job", properties, releaseDir)).toEqual(errors);
  });

  it("with a certificate", () => {
    expect(schemaErrors("job", { ca: certificate }, releaseDir)).toEqual([]);
  });
});
