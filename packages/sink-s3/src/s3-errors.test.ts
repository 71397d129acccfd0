import { describe, expect, it } from "vitest";
import { s3Error } from "./s3-errors.ts";

const attempt = {
  action: "store a/b in",
  location: "s3://backups/zk",
  bucket: "backups",
  endpoint: "https://s3.example.com",
};

function failure(name: string, httpStatusCode?: number, more: object = {}): Error {
  return Object.assign(new Error("UnknownError"), { name, $metadata: { httpStatusCode }, ...more });
}

describe("s3Error", () => {
  const cases: [error: Error, code: string, says: string][] = [
    [failure("NoSuchBucket", 404), "ERR_SINK_NOT_FOUND", "create it or correct its name"],
    [failure("AccessDenied", 403), "ERR_SINK_DENIED", "refused the credentials or the operation"],
    [failure("InvalidAccessKeyId", 403), "ERR_SINK_DENIED", "check the keys"],
    [failure("SignatureDoesNotMatch", 403), "ERR_SINK_DENIED", "the clock of this machine"],
    [failure("ExpiredToken", 400), "ERR_SINK_DENIED", "refused"],
    // A HEAD has no body to name the error in.
    [failure("Unknown", 403), "ERR_SINK_DENIED", "refused"],
    [failure("CredentialsProviderError"), "ERR_SINK_DENIED", "there are no credentials"],
    [failure("QuotaExceeded", 403), "ERR_SINK_FULL", "the quota or the limit"],
    [failure("EntityTooLarge", 400), "ERR_SINK_FULL", "the quota or the limit"],
    [failure("PermanentRedirect", 301), "ERR_CONFIG_INVALID", "set the right region and endpoint"],
    [
      failure("AuthorizationHeaderMalformed", 400, { Region: "eu-west-1" }),
      "ERR_CONFIG_INVALID",
      "set region: eu-west-1",
    ],
    [
      failure("Unknown", 301, { $response: { headers: { "x-amz-bucket-region": "us-west-2" } } }),
      "ERR_CONFIG_INVALID",
      "set region: us-west-2",
    ],
    [Object.assign(new Error("Region is missing"), {}), "ERR_CONFIG_INVALID", "set AWS_REGION"],
    [failure("InvalidStorageClass", 400), "ERR_CONFIG_INVALID", "check bucket, storageClass and sse"],
    [failure("InternalError", 500), "ERR_SINK_UNAVAILABLE", "https://s3.example.com failed"],
    [failure("SlowDown", 503), "ERR_SINK_UNAVAILABLE", "try again later"],
    [failure("TimeoutError"), "ERR_SINK_UNAVAILABLE", "no answer from https://s3.example.com"],
    [failure("Error", undefined, { code: "ECONNREFUSED" }), "ERR_SINK_UNAVAILABLE", "(ECONNREFUSED): no answer from"],
    [failure("Error", undefined, { code: "ENOTFOUND" }), "ERR_SINK_UNAVAILABLE", "check the endpoint"],
    [failure("Error", undefined, { code: "SELF_SIGNED_CERT_IN_CHAIN" }), "ERR_SINK_UNAVAILABLE", "set caFile"],
  ];
  for (const [error, code, says] of cases) {
    it(`turns ${error.name} ${JSON.stringify(error)} into ${code}`, () => {
      const result = s3Error(error, attempt);
      expect(result.code).toBe(code);
      expect(result.message).toContain("cannot store a/b in s3://backups/zk");
      expect(result.message).toContain(says);
      expect(result.cause).toBe(error);
    });
  }
});
