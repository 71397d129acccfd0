import { createServer, type RequestListener, type Server } from "node:http";
import { isBackypError } from "@zk-backyp/core";
import { afterEach, describe, expect, it } from "vitest";
import { askStatus, isNotServing } from "../server-status.ts";
import { askAdminServer } from "./admin-server.ts";
import type { ServerAddress } from "./server-address.ts";

// A real server cannot be made to answer like this.
let server: Server;
const { signal } = new AbortController();

async function answering(listener: RequestListener): Promise<ServerAddress> {
  server = createServer(listener);
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return { scheme: "http", host: "127.0.0.1", port: (server.address() as { port: number }).port };
}

const saying = (body: string, code = 200): Promise<ServerAddress> =>
  answering((_request, response) => response.writeHead(code).end(body));

afterEach(() => {
  server?.closeAllConnections();
  server?.close();
});

describe("an AdminServer", () => {
  it.each([
    ["has no such command", '{"command":"x","error":"Unknown command: x"}', 200, /Unknown command: x/],
    [
      "has no quorum",
      '{"command":"x","error":"This ZooKeeper instance is not currently serving requests"}',
      200,
      /no quorum/,
    ],
    ["is a web server", "<html></html>", 200, /HTTP status 200 and no JSON object; is this ZooKeeper's AdminServer/],
    ["fails", "<html>NullPointerException</html>", 500, /HTTP status 500/],
    ["redirects", "", 302, /HTTP status 302 and no JSON object; does it want https/],
    ["answers a list", "[]", 200, /no JSON object/],
    ["answers null", "null", 200, /no JSON object/],
    ["answers half an object", '{"command":', 200, /no JSON object/],
    ["refuses", '{"command":"x","error":null}', 403, /HTTP status 403/],
  ])("that %s is an error that says so", async (_, body, code, message) => {
    const address = await saying(body, code);
    await expect(askAdminServer(address, "x", {}, signal)).rejects.toSatisfy(
      (error) => isBackypError(error, "ERR_SOURCE_UNAVAILABLE") && message.test(error.message),
    );
  });

  it("that is not serving is told from one that cannot be asked", async () => {
    const address = await saying('{"error":"This ZooKeeper instance is not currently serving requests"}');
    const error = await askStatus(address, {}, signal).catch((cause: unknown) => cause);
    expect(isNotServing(error)).toBe(true);
    server.close();
    expect(isNotServing(await askStatus({ ...address, port: 1 }, {}, signal).catch((cause: unknown) => cause))).toBe(
      false,
    );
  });

  it("is not waited for without end", async () => {
    const address = await answering((_request, response) => {
      const drip = setInterval(() => response.write(" "), 20);
      response.on("close", () => clearInterval(drip));
    });
    await expect(askAdminServer(address, "x", { timeoutMs: 300 }, signal)).rejects.toThrow(/no answer within 0.3 s/);
  });

  it("stops when aborted", async () => {
    const address = await answering(() => {});
    await expect(askAdminServer(address, "x", {}, AbortSignal.timeout(50))).rejects.toSatisfy((error) =>
      isBackypError(error, "ERR_ABORTED"),
    );
  });

  it("is not read when its answer has no end", async () => {
    const address = await answering((_request, response) => {
      const flood = (): void => {
        while (!response.destroyed && response.write(Buffer.alloc(65_536, "x")));
      };
      response.on("drain", flood);
      flood();
    });
    await expect(askAdminServer(address, "x", {}, signal)).rejects.toThrow(/does not end/);
  });

  it("that closes the connection may speak https", async () => {
    const address = await answering((request) => request.socket.destroy());
    await expect(askAdminServer(address, "x", {}, signal)).rejects.toThrow(/speak http on this port, or https/);
  });
});

describe("the status from an AdminServer", () => {
  const stats = (zxid: string, more = ""): string =>
    `{"version":"3.9.6-a, built on x","read_only":false,"server_stats":{"server_state":"leader","last_processed_zxid":${zxid}},"node_count":5${more},"error":null}`;

  it.each([
    ["4294967296", 0x1_0000_0000n],
    ["90071992547409931", 90071992547409931n],
    ["-9223372036854775808", 0x8000_0000_0000_0000n],
  ])("keeps every digit of the zxid %s", async (text, zxid) => {
    const address = await saying(stats(text));
    expect(await askStatus(address, {}, signal)).toMatchObject({
      zxid,
      role: "leader",
      version: "3.9.6",
      nodeCount: 5,
    });
  });

  it("needs no more than server_stats", async () => {
    const address = await answering(({ url }, response) => {
      response.end(url === "/commands/server_stats" ? stats("7") : `{"error":"Unknown command"}`);
    });
    expect(await askStatus(address, {}, signal)).toEqual({
      version: "3.9.6",
      role: "leader",
      zxid: 7n,
      nodeCount: 5,
      digestMismatches: null,
      serverId: null,
      leaderId: null,
      syncedFollowers: null,
      learners: null,
    });
  });

  it.each([
    ["without a zxid", '{"server_stats":{"server_state":"leader"}}'],
    ["with a zxid that is none", stats("1.5")],
    ["with a text for a zxid", stats('"7"')],
    ["without a role", '{"server_stats":{"last_processed_zxid":7}}'],
    ["without anything", "{}"],
    ["with null", '{"server_stats":null}'],
  ])("%s is an error", async (_, body) => {
    const address = await saying(body);
    await expect(askStatus(address, {}, signal)).rejects.toThrow(/does not answer server_stats as ZooKeeper does/);
  });

  it("does not trust figures of another kind", async () => {
    const odd = '{"synced_followers":"2","digest_mismatches_count":1.5,"learners":[],"error":null}';
    const address = await answering(({ url }, response) => {
      response.end(url === "/commands/monitor" ? odd : stats("7"));
    });
    expect(await askStatus(address, {}, signal)).toMatchObject({
      syncedFollowers: null,
      digestMismatches: null,
      learners: null,
    });
  });
});
