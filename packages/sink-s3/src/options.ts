import { BackypError } from "@zk-backyp/core";
import { z } from "zod";

const MIB = 1024 * 1024;

/** How the store encrypts what is stored. */
export type ServerSideEncryption =
  /** With keys of the store. */
  | { readonly type: "AES256" }
  /** With a key of the key management service: the given one, or the account's default key. */
  | { readonly type: "aws:kms"; readonly keyId?: string | undefined }
  /** With a key that only the caller has: 32 bytes in base64. Without it nothing can be read back. */
  | { readonly type: "customer"; readonly key: string };

export interface S3SinkOptions {
  readonly bucket: string;
  /** What all keys in the bucket start with; a `/` follows it. Default: none. */
  readonly prefix?: string | undefined;
  /** Default: `us-east-1` with an `endpoint`, else what the AWS SDK finds (AWS_REGION, profile). */
  readonly region?: string | undefined;
  /** Address of a store that is not AWS: `https://s3.example.com`. */
  readonly endpoint?: string | undefined;
  /** Puts the bucket into the path instead of the host name. Default: true with an `endpoint`, else false. */
  readonly pathStyle?: boolean | undefined;
  /** Goes with `secretAccessKey`. Default: what the AWS SDK finds (environment, profile, instance role). */
  readonly accessKeyId?: string | undefined;
  readonly secretAccessKey?: string | undefined;
  /** For temporary credentials. */
  readonly sessionToken?: string | undefined;
  /** As the store names it: `STANDARD_IA`. Default: the store's own. */
  readonly storageClass?: string | undefined;
  /** Default: as the bucket says. */
  readonly sse?: ServerSideEncryption | undefined;
  /** Path of a PEM file with certificates of authorities to trust besides the well-known ones. */
  readonly caFile?: string | undefined;
  /** Bytes, 5 MiB to 1 GiB. Objects larger than this are sent in parts of this size. Default: 8 MiB. */
  readonly partSizeBytes?: number | undefined;
  /** How many parts are sent at once. Default: 3. */
  readonly concurrency?: number | undefined;
  /** Longest time in milliseconds in which nothing is sent or received by a request. Default: 60,000. */
  readonly requestTimeoutMs?: number | undefined;
  /** How often a request is tried before it counts as failed. Default: 5. */
  readonly maxAttempts?: number | undefined;
}

const text = z.string().min(1, "must not be empty");

const sse = z.discriminatedUnion("type", [
  z.strictObject({ type: z.literal("AES256") }),
  z.strictObject({ type: z.literal("aws:kms"), keyId: text.optional() }),
  z.strictObject({
    type: z.literal("customer"),
    key: z.string().refine((key) => Buffer.from(key, "base64").byteLength === 32, "must be 32 bytes in base64"),
  }),
]);

export const s3SinkOptions: z.ZodType<S3SinkOptions> = z
  .strictObject({
    bucket: z
      .string()
      .regex(/^[A-Za-z0-9][A-Za-z0-9._-]{1,254}$/, "is no bucket name")
      .meta({ description: "Name of the bucket, which must exist.", examples: ["backups"] }),
    prefix: z
      .string()
      .transform((prefix) => prefix.replace(/^\/+|\/+$/g, ""))
      .refine(
        (prefix) => prefix === "" || prefix.split("/").every((part) => !["", ".", ".."].includes(part)),
        'must not have empty parts, "." or ".."',
      )
      .optional()
      .meta({
        description: "What all keys in the bucket start with; a / follows it. Default: none.",
        examples: ["zookeeper"],
      }),
    region: text.optional().meta({
      description: "Default: us-east-1 with an endpoint, else what the AWS SDK finds.",
      examples: ["eu-central-1"],
    }),
    endpoint: z
      .string()
      .refine(isEndpoint, "must be an address like https://host:port, without credentials")
      .optional()
      .meta({ description: "Address of a store that is not AWS.", examples: ["https://s3.example.com"] }),
    pathStyle: z
      .boolean()
      .optional()
      .meta({
        description: "Puts the bucket into the path instead of the host name. Default: true with an endpoint.",
        examples: [true],
      }),
    accessKeyId: text.optional().meta({
      description: "Goes with secretAccessKey. Default: what the AWS SDK finds.",
      examples: [{ env: "S3_ACCESS_KEY_ID" }],
    }),
    secretAccessKey: text
      .optional()
      .meta({ description: "Goes with accessKeyId.", examples: [{ env: "S3_SECRET_ACCESS_KEY" }] }),
    sessionToken: text
      .optional()
      .meta({ description: "For temporary credentials.", examples: [{ env: "S3_SESSION_TOKEN" }] }),
    storageClass: text
      .optional()
      .meta({ description: "As the store names it. Default: the store's own.", examples: ["STANDARD_IA"] }),
    sse: sse.optional().meta({
      description: "How the store encrypts what is stored. Default: as the bucket says.",
      examples: [{ type: "AES256" }],
    }),
    caFile: text.optional().meta({
      description: "PEM file with certificates of authorities to trust besides the well-known ones.",
      examples: ["/etc/ssl/store-ca.pem"],
    }),
    partSizeBytes: z
      .int()
      .min(5 * MIB)
      .max(1024 * MIB)
      .optional()
      .meta({
        description: "Bytes. Larger objects are sent in parts of this size. Default: 8 MiB.",
        examples: [8388608],
      }),
    concurrency: z
      .int()
      .min(1)
      .max(64)
      .optional()
      .meta({ description: "How many parts are sent at once. Default: 3.", examples: [3] }),
    requestTimeoutMs: z
      .int()
      .min(1)
      .optional()
      .meta({
        description: "Longest time in milliseconds in which nothing is sent or received by a request. Default: 60000.",
        examples: [60000],
      }),
    maxAttempts: z
      .int()
      .min(1)
      .max(20)
      .optional()
      .meta({ description: "How often a request is tried before it counts as failed. Default: 5.", examples: [5] }),
  })
  .refine((options) => (options.accessKeyId === undefined) === (options.secretAccessKey === undefined), {
    message: "accessKeyId and secretAccessKey go together",
    path: ["secretAccessKey"],
  })
  .refine((options) => options.sessionToken === undefined || options.accessKeyId !== undefined, {
    message: "needs accessKeyId and secretAccessKey",
    path: ["sessionToken"],
  });

function isEndpoint(address: string): boolean {
  if (!URL.canParse(address)) return false;
  const url = new URL(address);
  const plain = url.username === "" && url.password === "" && url.search === "" && url.hash === "";
  return plain && (url.protocol === "https:" || url.protocol === "http:");
}

const PARAMETERS = ["region", "endpoint", "pathStyle", "storageClass", "sse", "sseKmsKeyId", "caFile"];
const SECRETS = ["accesskeyid", "secretaccesskey", "sessiontoken", "accesskey", "secretkey", "key", "secret", "token"];

/**
 * Options from `s3://bucket/prefix?endpoint=...&region=...`, or null for another kind of address. The parameters are
 * `region`, `endpoint`, `pathStyle`, `storageClass`, `sse` (`AES256` or `aws:kms`), `sseKmsKeyId` and `caFile`.
 *
 * @throws BackypError `ERR_CONFIG_INVALID` for other parameters and for credentials, which an address would give away
 */
export function optionsFromUrl(url: URL): Record<string, unknown> | null {
  if (url.protocol !== "s3:") return null;
  // Not url.href: it may hold the very secret that is refused here.
  const where = `s3://${url.hostname}${url.pathname}`;
  const parameters = url.searchParams;
  const names = [...parameters.keys()];
  if (url.username !== "" || url.password !== "" || names.some((name) => SECRETS.includes(name.toLowerCase()))) {
    throw new BackypError(
      "ERR_CONFIG_INVALID",
      `${where}: credentials do not belong into an address, where others can see them; set AWS_ACCESS_KEY_ID and ` +
        "AWS_SECRET_ACCESS_KEY, use a profile (AWS_PROFILE), or write them into a configuration file",
    );
  }
  const unknown = names.find((name, index) => !PARAMETERS.includes(name) || names.indexOf(name) !== index);
  if (unknown !== undefined) {
    throw new BackypError(
      "ERR_CONFIG_INVALID",
      `${where}: the parameter ${JSON.stringify(unknown)} is not known or given twice; known are ${PARAMETERS.join(", ")}`,
    );
  }
  if (url.hash !== "" || url.port !== "") {
    throw new BackypError("ERR_CONFIG_INVALID", `${where}: write s3://bucket/prefix, and the store as ?endpoint=...`);
  }

  const options: Record<string, unknown> = { bucket: url.hostname, prefix: decodeURIComponent(url.pathname) };
  for (const name of ["region", "endpoint", "storageClass", "caFile"]) {
    const value = parameters.get(name);
    if (value !== null) options[name] = value;
  }
  const pathStyle = parameters.get("pathStyle");
  // Anything else is left as text, for parseOptions to complain about.
  if (pathStyle !== null) options.pathStyle = pathStyle === "true" ? true : pathStyle === "false" ? false : pathStyle;
  const type = parameters.get("sse");
  const keyId = parameters.get("sseKmsKeyId");
  if (type !== null) options.sse = keyId === null ? { type } : { type, keyId };
  else if (keyId !== null) options.sse = { type: "aws:kms", keyId };
  return options;
}
