import { sinkContract } from "@zk-backyp/core/testing";
import { cephRgwMissing, requirePart } from "@zk-backyp/testbed";
import { afterAll, beforeAll, describe, it } from "vitest";
import { createS3Sink, type S3SinkOptions } from "../src/index.ts";
import { type Store, startStore } from "./store.ts";

const MIB = 1024 * 1024;

describe.skipIf(!requirePart(cephRgwMissing()))("the sink contract on Ceph RGW", () => {
  let store: Store;
  let sinks = 0;
  beforeAll(async () => {
    store = await startStore();
  });
  afterAll(() => store?.stop());

  // Every sink gets a prefix of its own, so that all of them are empty.
  const makeSink = (more: Partial<S3SinkOptions> = {}) => {
    sinks += 1;
    return createS3Sink({ ...store.options, prefix: `contract/${sinks}`, ...more });
  };

  const cases = sinkContract(makeSink, {
    listedObjects: 1001,
    leftovers: ({ location }) => store.unfinishedUploads(location.replace("s3://backups/", "")),
    // RGW 16 ignores If-None-Match when an upload of several parts is completed; small objects are tried below.
    features: { atomicIfAbsent: false },
  });
  for (const { name, run } of cases) it(name, run);

  describe("with objects of one part", () => {
    const RACE = "of several simultaneous puts with ifAbsent exactly one wins";
    const race = sinkContract(makeSink, { largeObjectBytes: MIB }).find(({ name }) => name === RACE);
    it(RACE, async () => race?.run());
  });

  describe("with a key of the customer's", () => {
    const sse = { type: "customer", key: Buffer.alloc(32, 7).toString("base64") } as const;
    const encrypted = sinkContract(() => makeSink({ sse }), { features: { atomicIfAbsent: false } });
    for (const { name, run } of encrypted.slice(0, 8)) it(name, run);
  });
});
