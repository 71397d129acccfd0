import { BackypError, type ErrorCode, systemErrorCode } from "@zk-backyp/core";

/** What was done when the error came, for its message. */
export interface S3Attempt {
  /** `store a/b in`, `list`: continued by the sink's location. */
  readonly action: string;
  /** `s3://bucket/prefix` */
  readonly location: string;
  readonly bucket: string;
  /** The store's address, or a word for AWS itself. */
  readonly endpoint: string;
}

/** The parts of an error of the AWS SDK that matter here. Stores other than AWS leave some of them out. */
interface SdkError {
  readonly name: string;
  readonly message: string;
  readonly httpStatus: number | undefined;
  readonly region: string | undefined;
  readonly systemCode: string | undefined;
}

const DENIED = new Set([
  "AccessDenied",
  "AccountProblem",
  "AllAccessDisabled",
  "CredentialsProviderError",
  "ExpiredToken",
  "InvalidAccessKeyId",
  "InvalidToken",
  "RequestTimeTooSkewed",
  "SignatureDoesNotMatch",
  "TokenRefreshRequired",
]);
const FULL = new Set(["EntityTooLarge", "QuotaExceeded", "ServiceQuotaExceededException", "InsufficientCapacity"]);
const ELSEWHERE = new Set(["PermanentRedirect", "TemporaryRedirect", "AuthorizationHeaderMalformed"]);
const REFUSED_OPTION = new Set([
  "InvalidArgument",
  "InvalidBucketName",
  "InvalidEncryptionAlgorithmError",
  "InvalidRequest",
  "InvalidStorageClass",
  "KMS.NotFoundException",
  "NotImplemented",
  "XNotImplemented",
]);
const CHANGED = new Set(["BadDigest", "InvalidDigest", "XAmzContentSHA256Mismatch"]);
const TLS_CODES = /^(CERT_|DEPTH_ZERO|ERR_TLS|ERR_SSL|SELF_SIGNED|UNABLE_TO_(GET|VERIFY))/;

/** Whether the store refuses the operation. */
export function isDenied(error: unknown): boolean {
  return readError(error).httpStatus === 403;
}

/**
 * Whether the store says that there is no such object or upload. It may be the bucket that is missing: a HEAD cannot
 * tell them apart. For a missing upload AWS answers NoSuchUpload and RGW NoSuchKey.
 */
export function isMissing(error: unknown): boolean {
  const { name, httpStatus } = readError(error);
  return httpStatus === 404 && name !== "NoSuchBucket";
}

/** Whether a condition (`If-None-Match`, `If-Match`) did not hold, or another writer was at the same key just now. */
export function isPreconditionFailed(error: unknown): boolean {
  const { name, httpStatus } = readError(error);
  return httpStatus === 412 || name === "PreconditionFailed" || name === "ConditionalRequestConflict";
}

/** Whether the range lies behind the end of the object. */
export function isOutOfRange(error: unknown): boolean {
  const { name, httpStatus } = readError(error);
  return name === "InvalidRange" || httpStatus === 416;
}

/** The error that a failed request stands for: what was done, on which store, and what helps. */
export function s3Error(error: unknown, attempt: S3Attempt): BackypError {
  const { action, location, bucket, endpoint } = attempt;
  const read = readError(error);
  const [code, advice] = explain(read, bucket, endpoint);
  const reason = [read.name, read.httpStatus].filter((part) => part !== undefined && part !== "Error").join(", ");
  const named = read.systemCode ?? reason;
  return new BackypError(code, `cannot ${action} ${location}${named === "" ? "" : ` (${named})`}: ${advice}`, {
    cause: error,
    details: { bucket, endpoint, s3Code: read.name, httpStatus: read.httpStatus ?? null },
  });
}

function explain(error: SdkError, bucket: string, endpoint: string): [code: ErrorCode, advice: string] {
  const { name, httpStatus, region, systemCode } = error;
  if (name === "NoSuchBucket") {
    return ["ERR_SINK_NOT_FOUND", `the bucket ${bucket} does not exist at ${endpoint}; create it or correct its name`];
  }
  if (name === "CredentialsProviderError") {
    return [
      "ERR_SINK_DENIED",
      "there are no credentials; give accessKeyId and secretAccessKey, set AWS_ACCESS_KEY_ID and " +
        "AWS_SECRET_ACCESS_KEY, or run where a role is attached",
    ];
  }
  if (FULL.has(name)) return ["ERR_SINK_FULL", "the quota or the limit of the store is reached; raise it"];
  if (ELSEWHERE.has(name) || httpStatus === 301 || httpStatus === 307) {
    const right = region === undefined ? "the right region and endpoint" : `region: ${region}`;
    return ["ERR_CONFIG_INVALID", `the bucket ${bucket} is in another region or at another endpoint; set ${right}`];
  }
  if (/region is missing/i.test(error.message)) {
    return ["ERR_CONFIG_INVALID", "no region is set; give region, or set AWS_REGION"];
  }
  if (DENIED.has(name) || httpStatus === 401 || httpStatus === 403) {
    return [
      "ERR_SINK_DENIED",
      "the store refused the credentials or the operation; check the keys, the clock of this machine, and the " +
        "permissions that the README of this sink lists",
    ];
  }
  if (REFUSED_OPTION.has(name)) {
    return ["ERR_CONFIG_INVALID", "the store does not take one of the options; check bucket, storageClass and sse"];
  }
  if (CHANGED.has(name)) {
    return ["ERR_SINK_UNAVAILABLE", `the bytes were changed on their way to ${endpoint}; check what lies between`];
  }
  if (systemCode !== undefined && TLS_CODES.test(systemCode)) {
    return [
      "ERR_SINK_UNAVAILABLE",
      `the certificate of ${endpoint} is not trusted; set caFile to the certificate of its authority`,
    ];
  }
  if (httpStatus === undefined) {
    return ["ERR_SINK_UNAVAILABLE", `no answer from ${endpoint}; check the endpoint, the network and the store`];
  }
  return ["ERR_SINK_UNAVAILABLE", `${endpoint} failed; try again later, and look into the store's log if it stays`];
}

function readError(error: unknown): SdkError {
  const { name, message, Region, $metadata, $response } = (error ?? {}) as {
    name?: unknown;
    message?: unknown;
    Region?: unknown;
    $metadata?: { httpStatusCode?: unknown };
    $response?: { headers?: Record<string, unknown> };
  };
  const status = $metadata?.httpStatusCode;
  const region = Region ?? $response?.headers?.["x-amz-bucket-region"];
  return {
    name: typeof name === "string" ? name : "",
    message: typeof message === "string" ? message : "",
    httpStatus: typeof status === "number" ? status : undefined,
    region: typeof region === "string" ? region : undefined,
    systemCode: systemErrorCode(error),
  };
}
