import { createHash } from "node:crypto";
import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { createServer, type RequestListener, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { baseUrl, fetchPinned, UnreachableError } from "./fetch-pinned.ts";

const CONTENT = Buffer.from("what was published");
const SHA256 = createHash("sha256").update(CONTENT).digest("hex");

let folder: string;
let path: string;
let server: Server;
let answer: RequestListener;
let asked: number;
let url: string;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "zk-backyp-fetch-"));
  path = join(folder, "a", "file.bin");
  asked = 0;
  answer = (_request, response) => response.end(CONTENT);
  server = createServer((request, response) => {
    asked += 1;
    answer(request, response);
  });
  await new Promise<void>((listening) => server.listen(0, "127.0.0.1", listening));
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/file.bin`;
});

afterEach(async () => {
  server.closeAllConnections();
  await new Promise((closed) => server.close(closed));
  await rm(folder, { recursive: true });
});

test("fetches a file once, into a folder that it makes", async () => {
  await fetchPinned({ url, sha256: SHA256 }, path);
  await fetchPinned({ url, sha256: SHA256 }, path);
  expect(await readFile(path)).toEqual(CONTENT);
  expect(await readdir(join(folder, "a"))).toEqual(["file.bin"]);
  expect(asked).toBe(1);
});

test("fetches a file again that is not what it should be", async () => {
  await fetchPinned({ url, sha256: SHA256 }, path);
  await writeFile(path, "half of wh");
  await fetchPinned({ url, sha256: SHA256 }, path);
  expect(await readFile(path)).toEqual(CONTENT);
});

test("refuses another file than the one that was pinned, without asking again", async () => {
  answer = (_request, response) => response.end("something else");
  const fetching = fetchPinned({ url, sha256: SHA256 }, path);
  await expect(fetching).rejects.toThrow(/has the SHA-256 [0-9a-f]{64} instead of/);
  await expect(fetching).rejects.not.toBeInstanceOf(UnreachableError);
  expect(await readdir(join(folder, "a"))).toEqual([]);
  expect(asked).toBe(1);
});

test("tries three times, and says why it could not be had", async () => {
  answer = (_request, response) => response.writeHead(404).end();
  const fetching = fetchPinned({ url, sha256: SHA256 }, path);
  await expect(fetching).rejects.toThrow(`cannot fetch ${url}: HTTP status 404`);
  await expect(fetching).rejects.toBeInstanceOf(UnreachableError);
  expect(asked).toBe(3);
});

test("begins anew after an answer that breaks off", async () => {
  answer = (_request, response) => {
    if (asked > 1) return response.end(CONTENT);
    response.writeHead(200, { "content-length": CONTENT.length });
    return response.write(CONTENT.subarray(0, 5), () => response.destroy());
  };
  await fetchPinned({ url, sha256: SHA256 }, path);
  expect(await readFile(path)).toEqual(CONTENT);
  expect(asked).toBe(2);
});

test.each([
  [undefined, "https://public.example"],
  ["", "https://public.example"],
  ["https://mirror.example/npm/", "https://mirror.example/npm"],
])("takes %j from the environment as %s", (configured, expected) => {
  expect(baseUrl(configured, "https://public.example/")).toBe(expected);
});
