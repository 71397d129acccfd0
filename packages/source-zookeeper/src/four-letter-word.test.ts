import { createServer, type Server, type Socket } from "node:net";
import { isBackypError } from "@zk-backyp/core";
import { afterEach, describe, expect, it } from "vitest";
import { askServer } from "./four-letter-word.ts";

// A real server cannot be made to answer like this.
let server: Server;
const { signal } = new AbortController();

async function answering(answer: (socket: Socket) => void): Promise<{ host: string; port: number }> {
  server = createServer((socket) => {
    socket.on("error", () => {});
    answer(socket);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return { host: "127.0.0.1", port: (server.address() as { port: number }).port };
}

afterEach(() => {
  server?.close();
});

describe("a four-letter word", () => {
  it.each([
    ["is not allowed", "conf is not executed because it is not in the whitelist.\n", /4lw\.commands\.whitelist/],
    ["meets a server without quorum", "This ZooKeeper instance is not currently serving requests\n", /no quorum/],
    ["is answered by nothing", "", /plain \(not TLS\) client port/],
  ])("that %s is an error that says what to do", async (_, text, message) => {
    const address = await answering((socket) => socket.end(text));
    await expect(askServer(address, "conf", {}, signal)).rejects.toThrow(message);
  });

  it("is not waited for without end", { timeout: 10_000 }, async () => {
    const address = await answering(() => {});
    await expect(askServer(address, "srvr", {}, signal)).rejects.toThrow(/no answer within 5 s/);
  });

  it("is not waited for longer while bytes trickle in", async () => {
    const address = await answering((socket) => {
      const drip = setInterval(() => socket.write("x"), 20);
      socket.on("close", () => clearInterval(drip));
    });
    await expect(askServer(address, "srvr", { timeoutMs: 300 }, signal)).rejects.toThrow(/no answer within 0.3 s/);
  });

  it("stops when aborted", async () => {
    const address = await answering(() => {});
    await expect(askServer(address, "srvr", {}, AbortSignal.timeout(50))).rejects.toSatisfy((error) =>
      isBackypError(error, "ERR_ABORTED"),
    );
  });

  it("does not read an answer that has no end", async () => {
    const address = await answering((socket) => {
      const flood = (): void => {
        while (!socket.destroyed && socket.write(Buffer.alloc(65_536, "x")));
      };
      socket.on("drain", flood);
      flood();
    });
    await expect(askServer(address, "srvr", {}, signal)).rejects.toThrow(/does not end/);
  });
});
