import { createHash } from "node:crypto";
import { createServer, type Server } from "node:net";
import { BackypError } from "@zk-backyp/core";
import type { MemberFolder } from "./member-folders.ts";

/**
 * Keeps other replacements on this host away from the same directories. The locks are abstract sockets of the kernel,
 * which no crash leaves behind. Other systems than Linux do without.
 *
 * @returns what gives them back
 * @throws BackypError `ERR_BUSY`
 */
export async function lockFolders(folders: readonly MemberFolder[]): Promise<() => void> {
  const servers: Server[] = [];
  const release = (): void => {
    for (const server of servers) server.close();
  };
  if (process.platform !== "linux") return release;
  for (const { real, directory } of folders) {
    const hash = createHash("sha256").update(real).digest("hex").slice(0, 40);
    const server = createServer((socket) => socket.destroy());
    if (await listens(server, `\0zk-backyp-replace-${hash}`)) {
      servers.push(server.unref());
      continue;
    }
    release();
    throw new BackypError("ERR_BUSY", `another restore is replacing the data in ${directory}; wait for it to end`, {
      details: { target: directory },
    });
  }
  return release;
}

function listens(server: Server, path: string): Promise<boolean> {
  return new Promise((resolve, reject) => {
    server.once("error", (error: NodeJS.ErrnoException) =>
      error.code === "EADDRINUSE" ? resolve(false) : reject(error),
    );
    server.listen({ path }, () => resolve(true));
  });
}
