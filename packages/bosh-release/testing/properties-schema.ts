import { X509Certificate } from "node:crypto";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { Ajv2020 } from "ajv/dist/2020.js";
import { boundProperties, readJobSpec } from "./director.ts";
import type { Properties } from "./render-job.ts";

const RELEASE = fileURLToPath(new URL("..", import.meta.url));

/**
 * What a Director says of a job's properties by the job's `properties_schema.json`, a line for each error; nothing where
 * all is well. It looks at what is bound: all that the spec declares, with defaults, and null where there is neither.
 */
export function schemaErrors(job: string, properties: Properties, releaseDir: string = RELEASE): readonly string[] {
  const schema: unknown = JSON.parse(readFileSync(join(releaseDir, "jobs", job, "properties_schema.json"), "utf8"));
  const ajv = new Ajv2020({ allErrors: true, allowUnionTypes: true });
  ajv.addFormat("certificate", isCertificate);
  ajv.validate(withCertificates(schema) as object, boundProperties(readJobSpec(job, releaseDir), properties));
  return (ajv.errors ?? []).map(({ instancePath, message }) => `${instancePath || "/"} ${message}`);
}

/** The Director knows a type more than JSON Schema: a text that is a certificate in PEM, or empty. */
function withCertificates(schema: unknown): unknown {
  if (Array.isArray(schema)) return schema.map(withCertificates);
  if (typeof schema !== "object" || schema === null) return schema;
  const { type, ...rest } = schema as { type?: unknown };
  const entries = Object.fromEntries(Object.entries(rest).map(([key, value]) => [key, withCertificates(value)]));
  // `type` may also be the name of a property.
  if (typeof type !== "string" && !Array.isArray(type))
    return type === undefined ? entries : { type: withCertificates(type), ...entries };
  if (![type].flat().includes("certificate")) return { type, ...entries };
  const types = [type].flat().map((one) => (one === "certificate" ? "string" : one));
  return { type: types, format: "certificate", ...entries };
}

function isCertificate(text: string): boolean {
  if (text === "") return true;
  try {
    return new X509Certificate(text).subject !== undefined;
  } catch {
    return false;
  }
}
