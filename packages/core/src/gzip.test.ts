import { execFileSync } from "node:child_process";
import { createHash, randomBytes } from "node:crypto";
import { gunzipSync } from "node:zlib";
import { describe, expect, it } from "vitest";
import { collect } from "./bytes.ts";
import { isBackypError } from "./errors.ts";
import { gzip } from "./gzip.ts";
import { codecContract } from "./testing/index.ts";

const { signal } = new AbortController();

async function* of(...chunks: Uint8Array[]): AsyncGenerator<Uint8Array> {
  yield* chunks;
}

describe("the codec contract", () => {
  for (const { name, run } of codecContract(() => gzip())) it(name, run);
});

describe("gzip", () => {
  it.each([1, 2, 5, 6, 9])("level %i is one member that gunzip reads", async (level) => {
    const content = Buffer.concat([Buffer.alloc(2_500_000, '{"state":"RUNNING"}'), randomBytes(1_200_000)]);
    const packed = await collect(gzip({ level }).encode(of(content), { signal }), 8e6);
    expect(gunzipSync(packed).equals(content)).toBe(true);
    const sha256 = (bytes: Buffer) => createHash("sha256").update(bytes).digest("hex");
    expect(sha256(execFileSync("gzip", ["-dc"], { input: packed, maxBuffer: 8e6 }))).toBe(sha256(content));
  });

  it("does not depend on how the input is cut", async () => {
    const content = randomBytes(3_000_000);
    const pieces = Array.from({ length: 300 }, (_, index) => content.subarray(index * 10_000, (index + 1) * 10_000));
    const whole = await collect(gzip().encode(of(content), { signal }), 8e6);
    const cut = await collect(gzip().encode(of(...pieces), { signal }), 8e6);
    expect(cut.equals(whole)).toBe(true);
  });

  it("is no larger than gzip -6 on text", async () => {
    const lines = Array.from(
      { length: 60_000 },
      (_, n) => `/brokers/topics/t${n % 977}/partitions/${n}/state ${n * 7919}\n`,
    );
    const content = Buffer.from(lines.join(""));
    const ours = await collect(gzip().encode(of(content), { signal }), 8e6);
    const theirs = execFileSync("gzip", ["-6c"], { input: content, maxBuffer: 8e6 });
    expect(ours.byteLength).toBeLessThan(theirs.byteLength * 1.02);
  });

  it("finds a flipped bit", async () => {
    const packed = await collect(gzip().encode(of(randomBytes(5000)), { signal }), 8e6);
    for (let offset = 10; offset < packed.byteLength; offset += 97) {
      const damaged = Buffer.from(packed);
      damaged[offset] = (damaged[offset] ?? 0) ^ 4;
      await expect(collect(gzip().decode(of(damaged), { signal }), 8e6)).rejects.toSatisfy((error) =>
        isBackypError(error, "ERR_ARCHIVE_CORRUPT"),
      );
    }
  });

  it.each([0, 10, 1.5, Number.NaN])("refuses the level %s", (level) => {
    expect(() => gzip({ level })).toThrow(/level/);
  });
});
