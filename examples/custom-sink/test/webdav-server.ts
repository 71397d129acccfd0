import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { v2 } from "webdav-server";

/** A WebDAV server on loopback. */
export interface WebdavServer {
  /** Of its root collection: `http://127.0.0.1:40123`. */
  readonly url: string;
  stop(): Promise<void>;
}

/** Serves `directory` over WebDAV, to anybody on this host. */
export async function startWebdavServer(directory: string): Promise<WebdavServer> {
  const dav = new v2.WebDAVServer();
  await dav.setFileSystemAsync("/", new v2.PhysicalFileSystem(directory));
  const server: Server = createServer((request, response) => dav.executeRequest(request, response));
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    async stop() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}
