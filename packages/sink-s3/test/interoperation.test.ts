import { execFile } from "node:child_process";
import { randomBytes } from "node:crypto";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { Agent } from "node:https";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { collect, type Sink } from "@zk-backyp/core";
import { cephRgwMissing, requirePart } from "@zk-backyp/testbed";
import { Client } from "minio";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { createS3Sink } from "../src/index.ts";
import { type Store, startStore } from "./store.ts";

const MIB = 1024 * 1024;
const { signal } = new AbortController();
const run = promisify(execFile);

async function* once(bytes: Uint8Array): AsyncGenerator<Uint8Array, void, void> {
  yield bytes;
}

async function keysOf(sink: Sink): Promise<string[]> {
  const keys: string[] = [];
  for await (const { key } of sink.list("", { signal })) keys.push(key);
  return keys;
}

describe.skipIf(!requirePart(cephRgwMissing()))("sink-s3 beside another client", () => {
  let store: Store;
  let sink: Sink;
  beforeAll(async () => {
    store = await startStore();
    sink = await createS3Sink({ ...store.options, prefix: "zk/prod" });
  });
  afterAll(async () => {
    await sink?.close();
    await store?.stop();
  });

  for (const [what, bytes] of [
    ["a small object", 1000],
    ["an object of several parts", 20 * MIB],
  ] as const) {
    it(`reads ${what} of the other, and is read by it`, async () => {
      const content = randomBytes(bytes);
      await store.minio.putObject(store.bucket, `zk/prod/theirs-${bytes}`, content);
      expect((await collect(sink.get(`theirs-${bytes}`, { signal }), bytes)).equals(content)).toBe(true);

      await sink.put(`ours-${bytes}`, once(content), { signal });
      const stream = await store.minio.getObject(store.bucket, `zk/prod/ours-${bytes}`);
      expect((await collect(stream, bytes)).equals(content)).toBe(true);
      const info = await store.minio.statObject(store.bucket, `zk/prod/ours-${bytes}`);
      expect(info.size).toBe(bytes);
    });
  }

  it("lists what is under its prefix and has a key, and nothing else", async () => {
    for (const name of ["zk/prod/a/1", "zk/prod/folder/", "zk/prod/with space", "zk/production/x", "other"]) {
      await store.minio.putObject(store.bucket, name, "x");
    }
    const keys = await keysOf(sink);
    expect(keys).toContain("a/1");
    expect(keys.filter((key) => !/^(theirs|ours)-/.test(key))).toEqual(["a/1"]);
  });

  it("shows the store's own time", async () => {
    await sink.put("timed", once(Buffer.from("x")), { signal });
    const { lastModified } = await store.minio.statObject(store.bucket, "zk/prod/timed");
    for await (const info of sink.list("timed", { signal })) {
      expect(Math.floor(info.modifiedAt.getTime() / 1000)).toBe(Math.floor(lastModified.getTime() / 1000));
    }
  });

  it("refuses with ifAbsent what the other stored, whatever the size", async () => {
    await store.minio.putObject(store.bucket, "zk/prod/taken", "theirs");
    for (const bytes of [10, 20 * MIB]) {
      const put = sink.put("taken", once(randomBytes(bytes)), { signal, ifAbsent: true });
      await expect(put).rejects.toMatchObject({ code: "ERR_OBJECT_EXISTS" });
    }
    expect((await collect(sink.get("taken", { signal }), 100)).toString()).toBe("theirs");
    expect(await store.unfinishedUploads()).toEqual([]);
  });

  it("sweeps uploads that nobody goes on with, below its prefix and older than it is told, and no others", async () => {
    const begin = (key: string): Promise<string> => store.minio.initiateNewMultipartUpload(store.bucket, key, {});
    const begun = ["zk/prod/p/archives/1", "zk/prod/p/archives/2", "zk/prod/p-2/archives/1", "zk/other/p/archives/1"];
    const [first = "", ...others] = await Promise.all(begun.map(begin));
    const part = { bucketName: store.bucket, uploadID: first, partNumber: 1, headers: {} };
    await store.minio.uploadPart({ ...part, objectName: "zk/prod/p/archives/1" }, randomBytes(5 * MIB));
    expect(others).toHaveLength(3);

    const anHour = 3_600_000;
    expect(await sink.sweep?.("p/", { signal, olderThan: new Date(Date.now() - anHour) })).toBe(0);
    expect((await store.unfinishedUploads()).toSorted()).toEqual(begun.toSorted());
    expect(await sink.sweep?.("p/", { signal, olderThan: new Date(Date.now() + anHour) })).toBe(2);
    expect((await store.unfinishedUploads()).toSorted()).toEqual(begun.slice(2).toSorted());
    const all = await createS3Sink(store.options);
    expect(await all.sweep?.("", { signal, olderThan: new Date(Date.now() + anHour) })).toBe(2);
    await all.close();
    expect(await store.unfinishedUploads()).toEqual([]);
  });

  it("leaves an upload alone that was begun long ago and still gets parts", async () => {
    const key = "zk/prod/p/archives/slow";
    const uploadID = await store.minio.initiateNewMultipartUpload(store.bucket, key, {});
    await sleep(2_100);
    const between = new Date(Date.now() - 1_000);
    const part = { bucketName: store.bucket, objectName: key, uploadID, partNumber: 1, headers: {} };
    await store.minio.uploadPart(part, randomBytes(5 * MIB));
    expect(await sink.sweep?.("p/", { signal, olderThan: between })).toBe(0);
    expect(await sink.sweep?.("p/", { signal, olderThan: new Date(Date.now() + 10_000) })).toBe(1);
  });

  it("leaves unfinished uploads to a rule of the bucket where it may not list them, and says so", async () => {
    const stranger = await store.rgw.createUser("sweeper");
    const warnings: string[] = [];
    const logger = { debug() {}, info() {}, warn: (_: object, message: string) => void warnings.push(message) };
    const denied = await createS3Sink({ ...store.options, ...stranger }, { logger });
    expect(await denied.sweep?.("p/", { signal, olderThan: new Date() })).toBe(0);
    expect(warnings).toEqual([expect.stringMatching(/^unfinished uploads are left to a rule of the bucket: /)]);
    await denied.close();
  });

  it("needs little memory for a large object", async () => {
    const script = fileURLToPath(new URL("put-large.ts", import.meta.url));
    const { stdout } = await run(process.execPath, [script, JSON.stringify(store.options), String(300 * MIB)]);
    const figures = JSON.parse(stdout);
    console.log(`300 MiB through sink-s3: ${stdout}`);
    expect(figures.size).toBe(300 * MIB);
    // Of this the AWS SDK takes 90 MiB by being loaded. What is read is the garbage collector's to give back.
    expect(figures.peakRssOfPut).toBeLessThan(190 * MIB);
    expect(figures.peakRssOfBoth).toBeLessThan(300 * MIB);
  });
});

const parts = requirePart(cephRgwMissing());
describe.skipIf(!parts)("sink-s3 over TLS with a certificate of one's own", () => {
  let directory: string;
  let store: Store;
  beforeAll(async () => {
    directory = await mkdtemp(join(tmpdir(), "sink-s3-tls-"));
    const openssl = (...args: string[]): Promise<unknown> => run("openssl", args, { cwd: directory });
    const newKey = ["-newkey", "rsa:2048", "-nodes", "-batch"];
    await openssl(
      "req",
      "-x509",
      ...newKey,
      "-keyout",
      "ca.key",
      "-out",
      "ca.pem",
      "-subj",
      "/CN=test authority",
      "-days",
      "1",
    );
    const name = ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"];
    await openssl("req", ...newKey, "-keyout", "server.key", "-out", "server.csr", ...name);
    const signing = ["-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "1", "-copy_extensions", "copy"];
    await openssl("x509", "-req", "-in", "server.csr", ...signing, "-out", "server.pem");
    const pem = await Promise.all(["server.key", "server.pem"].map((file) => readFile(join(directory, file), "utf8")));
    await writeFile(join(directory, "both.pem"), pem.join(""));
    store = await startStore({ tls: { keyAndCertificateFile: join(directory, "both.pem") } });
    const { accessKeyId: accessKey, secretAccessKey: secretKey, port } = store.rgw;
    const transportAgent = new Agent({ ca: await readFile(join(directory, "ca.pem")) });
    const client = new Client({ endPoint: "127.0.0.1", port, useSSL: true, accessKey, secretKey, transportAgent });
    await client.makeBucket(store.bucket);
  });
  afterAll(async () => {
    await store?.stop();
    await rm(directory, { recursive: true, force: true });
  });

  it("trusts the authority in caFile, for objects of one part and of several", async () => {
    const sink = await createS3Sink({ ...store.options, caFile: join(directory, "ca.pem") });
    for (const bytes of [1000, 20 * MIB]) {
      const content = randomBytes(bytes);
      await sink.put("key", once(content), { signal });
      expect((await collect(sink.get("key", { signal }), bytes)).equals(content)).toBe(true);
    }
    await sink.close();
  });

  it("says what to do without it", async () => {
    const sink = await createS3Sink(store.options);
    await expect(sink.put("key", once(randomBytes(10)), { signal })).rejects.toMatchObject({
      code: "ERR_SINK_UNAVAILABLE",
      message: expect.stringContaining("is not trusted; set caFile"),
    });
    await sink.close();
    for (const caFile of [join(directory, "nothing"), join(directory, "server.key")]) {
      await expect(createS3Sink({ ...store.options, caFile })).rejects.toMatchObject({ code: "ERR_CONFIG_INVALID" });
    }
  });
});
