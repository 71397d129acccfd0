import { createHash } from "node:crypto";
import { connect, createServer, type Server } from "node:net";
import { BackypError } from "@zk-backyp/core";

/**
 * Makes a second run of a series on this host wait its turn: it is told so (`ERR_BUSY`) instead of doing the work
 * twice. The lock is an abstract socket of the kernel, so that no crash can leave one behind; it is thrift, not
 * safety (two runs would both succeed), and other systems than Linux do without.
 *
 * @param name what the run works on: where the sink is, and the prefix
 * @throws BackypError `ERR_BUSY`
 */
export async function takeRunLock(name: string): Promise<{ release(): Promise<void> }> {
  if (process.platform !== "linux") return { release: async () => {} };
  const path = `\0zk-backyp-${createHash("sha256").update(name).digest("hex").slice(0, 40)}`;
  const server = createServer((socket) => {
    // Whoever connects is told who holds the lock, and cannot hold it up.
    socket.on("error", () => {});
    socket.end(String(process.pid), () => socket.destroy());
  });
  if (await listens(server, path)) {
    server.unref();
    return {
      async release() {
        server.close();
      },
    };
  }
  const holder = await askHolder(path);
  throw new BackypError(
    "ERR_BUSY",
    `another backup into ${name} is running${holder === "" ? "" : ` (process ${holder})`}; wait for it to end`,
    { details: { pid: holder } },
  );
}

function listens(server: Server, path: string): Promise<boolean> {
  return new Promise((resolve, reject) => {
    server.once("error", (error: NodeJS.ErrnoException) =>
      error.code === "EADDRINUSE" ? resolve(false) : reject(error),
    );
    server.listen({ path }, () => resolve(true));
  });
}

function askHolder(path: string): Promise<string> {
  return new Promise((resolve) => {
    let answer = "";
    const socket = connect({ path });
    socket.setTimeout(500, () => socket.destroy());
    socket.on("data", (chunk) => {
      answer += chunk.toString();
    });
    socket.on("error", () => {});
    socket.on("close", () => resolve(answer));
  });
}
