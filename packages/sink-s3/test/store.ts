import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type CephRgw, type CephRgwOptions, type CephRgwUser, startCephRgw } from "@zk-backyp/testbed";
import { Client } from "minio";
import type { S3SinkOptions } from "../src/index.ts";

/** A store with one bucket, an independent client for it, and the options of a sink on it. */
export interface Store {
  readonly rgw: CephRgw;
  readonly bucket: string;
  readonly minio: Client;
  /** The same client for another user. */
  minioOf(user: CephRgwUser): Client;
  readonly options: S3SinkOptions;
  /** Keys of uploads that were begun and neither completed nor removed. */
  unfinishedUploads(prefix?: string): Promise<string[]>;
  stop(): Promise<void>;
}

/** Starts Ceph RGW in a new temporary directory and makes a bucket. */
export async function startStore(options: Omit<CephRgwOptions, "directory"> = {}): Promise<Store> {
  const directory = await mkdtemp(join(tmpdir(), "sink-s3-"));
  const rgw = await startCephRgw({ ...options, directory });
  const { accessKeyId, secretAccessKey } = rgw;
  const bucket = "backups";
  const minioOf = ({ accessKeyId: accessKey, secretAccessKey: secretKey }: CephRgwUser): Client =>
    new Client({ endPoint: "127.0.0.1", port: rgw.port, useSSL: false, accessKey, secretKey, region: "us-east-1" });
  const minio = minioOf(rgw);
  if (options.tls === undefined) await minio.makeBucket(bucket);
  return {
    rgw,
    bucket,
    minio,
    minioOf,
    options: { bucket, endpoint: rgw.endpoint, accessKeyId, secretAccessKey },
    async unfinishedUploads(prefix = "") {
      const keys: string[] = [];
      for await (const upload of minio.listIncompleteUploads(bucket, prefix, true)) keys.push(upload.key);
      return keys;
    },
    async stop() {
      await rgw.stop();
      await rm(directory, { recursive: true, force: true });
    },
  };
}
