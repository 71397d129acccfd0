import { readFile } from "node:fs/promises";
import { getCACertificates } from "node:tls";
import { S3Client } from "@aws-sdk/client-s3";
import { BackypError } from "@zk-backyp/core";
import type { S3SinkOptions } from "./options.ts";

/** Longest time in ms until a connection stands. Tried as often as `maxAttempts` says. */
const CONNECTION_TIMEOUT_MS = 10_000;

/**
 * A client of the AWS SDK, set up for the store that the options name.
 *
 * @throws BackypError `ERR_CONFIG_INVALID` when `caFile` cannot be read
 */
export async function createClient(options: S3SinkOptions): Promise<S3Client> {
  const { endpoint, accessKeyId, secretAccessKey, sessionToken, caFile } = options;
  const ca = caFile === undefined ? undefined : [...getCACertificates(), await readCertificates(caFile)];
  // Enough for the parts of several puts at once; what is over waits for a free one.
  const agent = { keepAlive: true, maxSockets: 64 };
  const region = options.region ?? (endpoint === undefined ? undefined : "us-east-1");
  return new S3Client({
    ...(region === undefined ? {} : { region }),
    ...(endpoint === undefined ? {} : { endpoint }),
    forcePathStyle: options.pathStyle ?? endpoint !== undefined,
    ...(accessKeyId === undefined || secretAccessKey === undefined
      ? {}
      : { credentials: { accessKeyId, secretAccessKey, ...(sessionToken === undefined ? {} : { sessionToken }) } }),
    maxAttempts: options.maxAttempts ?? 5,
    // Waiting for the store's go-ahead before each part costs a round trip, and the SDK uses a connection of its own
    // for it, which knows nothing of caFile.
    expectContinueHeader: false,
    // Bodies are Buffers, so two checksums go along in headers: the SHA-256 that the signature covers, which AWS and
    // Ceph RGW both compare with what arrived, and a CRC-32, which AWS demands where objects are locked. Only bodies
    // that are streams would get a trailer, which RGW 16 answers with 411.
    requestChecksumCalculation: "WHEN_SUPPORTED",
    // What is read back is compared with the manifest's SHA-256 by core; and a range cannot be checked here anyway.
    responseChecksumValidation: "WHEN_REQUIRED",
    requestHandler: {
      connectionTimeout: CONNECTION_TIMEOUT_MS,
      // Silence counts, not the whole duration: a large part over a slow line may take its time.
      socketTimeout: options.requestTimeoutMs ?? 60_000,
      httpAgent: agent,
      httpsAgent: ca === undefined ? agent : { ...agent, ca },
    },
  });
}

async function readCertificates(path: string): Promise<string> {
  try {
    const text = await readFile(path, "utf8");
    if (text.includes("-----BEGIN CERTIFICATE-----")) return text;
  } catch (cause) {
    throw new BackypError("ERR_CONFIG_INVALID", `caFile: cannot read ${path}; name a PEM file`, { cause });
  }
  throw new BackypError("ERR_CONFIG_INVALID", `caFile: there is no certificate in ${path}; name a PEM file`);
}
