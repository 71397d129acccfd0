import { once } from "node:events";
import { connect, createServer, type Socket } from "node:net";

/** A way to a server on loopback that can be cut. */
export interface TcpProxy {
  readonly port: number;
  /**
   * `closed`: all connections end, and new ones too. `silent`: nothing is passed on any more and nobody is told, as when a
   * cable is pulled.
   */
  cut(how: "closed" | "silent"): void;
  /** New connections work again; what was cut stays so. */
  heal(): void;
  close(): Promise<void>;
}

/** Listens on a free port of loopback, and passes what comes on to `targetPort`. */
export async function startTcpProxy(targetPort: number): Promise<TcpProxy> {
  const pairs = new Set<readonly [Socket, Socket]>();
  let state: "open" | "closed" | "silent" = "open";
  const server = createServer((client) => {
    client.on("error", () => {});
    if (state === "closed") {
      client.destroy();
      return;
    }
    const upstream = connect(targetPort, "127.0.0.1");
    upstream.on("error", () => client.destroy());
    const pair = [client, upstream] as const;
    pairs.add(pair);
    for (const [one, other] of [pair, [upstream, client]] as const) {
      one.on("close", () => {
        pairs.delete(pair);
        other.destroy();
      });
    }
    if (state === "silent") return;
    client.pipe(upstream);
    upstream.pipe(client);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const destroyAll = (): void => {
    for (const [client] of pairs) client.destroy();
  };
  return {
    port: (server.address() as { port: number }).port,
    cut(how) {
      state = how;
      if (how === "closed") destroyAll();
      for (const [client, upstream] of pairs) {
        client.unpipe(upstream);
        upstream.unpipe(client);
        client.pause();
        upstream.pause();
      }
    },
    heal() {
      state = "open";
    },
    async close() {
      server.close();
      destroyAll();
    },
  };
}
