import { mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { sinkContract } from "@zk-backyp/core/testing";
import { afterAll, beforeAll, describe, it } from "vitest";
import { createWebdavSink } from "../src/index.ts";
import { startWebdavServer, type WebdavServer } from "./webdav-server.ts";

let directory: string;
let server: WebdavServer;
beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "zk-backyp-webdav-"));
  server = await startWebdavServer(directory);
});
afterAll(async () => {
  await server.stop();
  await rm(directory, { recursive: true });
});

describe("the WebDAV sink on a real server", () => {
  // This server looks whether the destination of a MOVE is free and renames then, so that several may find it free.
  const features = { atomicIfAbsent: false };
  const cases = sinkContract(async () => createWebdavSink({ url: server.url }), {
    features,
    leftovers: () => readdir(join(directory, ".tmp~")).catch(() => []),
  });
  for (const { name, run } of cases) it(name, run);
});
