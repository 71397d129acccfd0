import { describe, expect, it } from "vitest";
import plugin from "./index.ts";

function messageOf(call: () => unknown): string {
  try {
    call();
  } catch (error) {
    return (error as Error).message;
  }
  throw new Error("the call did not throw");
}

const parse = (options: object): unknown => plugin.parseOptions({ bucket: "backups", ...options });
const fromUrl = (url: string): unknown => plugin.optionsFromUrl?.(new URL(url));

describe("options", () => {
  it("need no more than a bucket", () => {
    expect(parse({})).toEqual({ bucket: "backups" });
    expect(() => plugin.parseOptions({})).toThrow(/sink s3: bucket/);
    expect(() => plugin.parseOptions({ bucket: "a/b" })).toThrow("bucket: is no bucket name");
  });

  it("take a prefix with or without slashes around it", () => {
    for (const prefix of ["zk/prod", "/zk/prod/", "zk/prod/"])
      expect(parse({ prefix })).toMatchObject({ prefix: "zk/prod" });
    expect(() => parse({ prefix: "a//b" })).toThrow(/prefix/);
    expect(() => parse({ prefix: "../other" })).toThrow(/prefix/);
  });

  it("refuse half of the credentials, and never repeat a secret", () => {
    expect(() => parse({ secretAccessKey: "hunter2" })).toThrow("accessKeyId and secretAccessKey go together");
    expect(() => parse({ sessionToken: "hunter2" })).toThrow(/sessionToken: needs/);
    for (const wrong of [{ secretAccessKey: "hunter2" }, { sse: { type: "customer", key: "hunter2" } }]) {
      expect(messageOf(() => parse(wrong))).not.toContain("hunter2");
    }
  });

  it("refuse what is not known or out of bounds", () => {
    expect(() => parse({ buckets: 1 })).toThrow(/buckets/);
    expect(() => parse({ partSizeBytes: 1024 })).toThrow(/partSizeBytes/);
    expect(() => parse({ endpoint: "ftp://x" })).toThrow(/endpoint/);
    expect(() => parse({ endpoint: "https://user:pass@host" })).toThrow(/without credentials/);
    expect(() => parse({ sse: { type: "rot13" } })).toThrow(/sse/);
  });
});

describe("optionsFromUrl", () => {
  it("reads bucket, prefix and parameters", () => {
    expect(plugin.parseOptions(fromUrl("s3://backups"))).toEqual({ bucket: "backups", prefix: "" });
    const url =
      "s3://backups/zk/prod?endpoint=https://s3.example.com:8443&region=eu-west-1&pathStyle=false&sse=aws:kms";
    expect(plugin.parseOptions(fromUrl(`${url}&sseKmsKeyId=k1&storageClass=STANDARD_IA&caFile=/ca.pem`))).toEqual({
      bucket: "backups",
      prefix: "zk/prod",
      endpoint: "https://s3.example.com:8443",
      region: "eu-west-1",
      pathStyle: false,
      sse: { type: "aws:kms", keyId: "k1" },
      storageClass: "STANDARD_IA",
      caFile: "/ca.pem",
    });
    expect(fromUrl("file:///backups")).toBeNull();
  });

  it("refuses credentials without repeating them, and says what to use", () => {
    for (const url of [
      "s3://key:hunter2@backups/zk",
      "s3://backups?secretAccessKey=hunter2",
      "s3://b0?token=hunter2",
    ]) {
      expect(() => fromUrl(url)).toThrow(/credentials do not belong into an address.*AWS_ACCESS_KEY_ID/);
      expect(messageOf(() => fromUrl(url))).not.toContain("hunter2");
    }
  });

  it("refuses other parameters", () => {
    expect(() => fromUrl("s3://backups?regoin=x")).toThrow('the parameter "regoin" is not known');
    expect(() => fromUrl("s3://backups?region=a&region=b")).toThrow("given twice");
    expect(() => plugin.parseOptions(fromUrl("s3://backups?pathStyle=yes"))).toThrow(/pathStyle/);
    expect(() => fromUrl("s3://backups:9000/x")).toThrow("write s3://bucket/prefix");
  });
});
