import { createServer, type RequestListener, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { BackypError, type Sink } from "@zk-backyp/core";
import { afterEach, describe, expect, it } from "vitest";
import plugin, { createWebdavSink } from "../src/index.ts";

const signal = new AbortController().signal;
let server: Server | undefined;
afterEach(() => {
  server?.closeAllConnections();
  server?.close();
  server = undefined;
});

async function sinkOf(listener: RequestListener): Promise<Sink> {
  server = createServer(listener);
  await new Promise<void>((resolve) => server?.listen(0, "127.0.0.1", resolve));
  return createWebdavSink({ url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/dav` });
}

async function* body(): AsyncGenerator<Uint8Array, void, void> {
  yield Buffer.from("x");
}

describe("a server that fails", () => {
  it.each([
    [401, "ERR_SINK_DENIED"],
    [403, "ERR_SINK_DENIED"],
    [500, "ERR_SINK_UNAVAILABLE"],
    [507, "ERR_SINK_FULL"],
  ])("with status %i is %s, whatever is asked of it", async (status, code) => {
    const sink = await sinkOf((request, response) => {
      request.resume();
      response.writeHead(status).end();
    });
    await expect(sink.put("key", body(), { signal })).rejects.toMatchObject({ code });
    await expect(Array.fromAsync(sink.get("key", { signal }))).rejects.toMatchObject({ code });
    await expect(Array.fromAsync(sink.list("", { signal }))).rejects.toMatchObject({ code });
    await expect(sink.delete("key", { signal })).rejects.toMatchObject({ code });
  });

  it("by not being there is ERR_SINK_UNAVAILABLE", async () => {
    const sink = createWebdavSink({ url: "http://127.0.0.1:1/" });
    await expect(sink.put("key", body(), { signal })).rejects.toMatchObject({ code: "ERR_SINK_UNAVAILABLE" });
  });

  it("in the middle of an answer does not pass for the end of the object", async () => {
    const sink = await sinkOf((_request, response) => {
      response.writeHead(200, { "Content-Length": "1000" }).write("the beginning", () => response.destroy());
    });
    await expect(Array.fromAsync(sink.get("key", { signal }))).rejects.toMatchObject({ code: "ERR_SINK_UNAVAILABLE" });
  });

  it("to look at the range gives the right bytes all the same", async () => {
    const sink = await sinkOf((_request, response) => response.end("0123456789"));
    const chunks = await Array.fromAsync(sink.get("key", { signal, range: { start: 2, end: 5 } }));
    expect(Buffer.concat(chunks).toString()).toBe("234");
  });
});

describe("an address", () => {
  const optionsOf = (address: string): unknown => plugin.optionsFromUrl?.(new URL(address));

  it("stands for https, or for http where it says so", () => {
    expect(optionsOf("webdav://dav.example.com/backups")).toEqual({ url: "https://dav.example.com/backups" });
    expect(optionsOf("webdav://127.0.0.1:8080/?tls=false")).toEqual({ url: "http://127.0.0.1:8080/" });
    expect(optionsOf("s3://bucket")).toBeNull();
  });

  it("holds no password and nothing unknown, and says so without it", () => {
    expect(() => optionsOf("webdav://me:secret@dav.example.com/x")).toThrow(
      new BackypError(
        "ERR_CONFIG_INVALID",
        "webdav://dav.example.com/x: write username and password into a configuration file",
      ),
    );
    expect(() => optionsOf("webdav://dav.example.com/?tsl=false")).toThrow(/knows no parameter but tls=false/);
  });
});
