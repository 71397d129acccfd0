import { once } from "node:events";
import { type AddressInfo, connect, createServer, type Socket } from "node:net";

/** What happens to one connection. Offsets count the bytes of the connection, headers included. */
interface ConnectionFault {
  /** Cuts the connection once that many bytes went to the server. */
  readonly cutAfterSent?: number;
  /** Cuts the connection once that many bytes came from the server. */
  readonly cutAfterReceived?: number;
  /** Changes the byte at this offset on its way to the server. */
  readonly flipSentAt?: number;
  /** Answers with this HTTP status instead of the server. */
  readonly status?: number;
  /** Takes what is sent and never answers. */
  readonly silent?: true;
}

/** A proxy on loopback that breaks connections. */
export interface FaultyProxy {
  readonly endpoint: string;
  readonly connections: number;
  /** From now on, asked for each new connection; counted from 0 since this call. */
  faults(faultOf: (connection: number) => ConnectionFault | undefined): void;
  /** Cuts all open connections. */
  drop(): void;
  stop(): Promise<void>;
}

/** Starts a proxy in front of `port` of 127.0.0.1; without faults it passes everything through. */
export async function startFaultyProxy(port: number): Promise<FaultyProxy> {
  let faultOf: (connection: number) => ConnectionFault | undefined = () => undefined;
  let connections = 0;
  const sockets = new Set<Socket>();
  const server = createServer((client) => {
    const fault = faultOf(connections) ?? {};
    connections += 1;
    const upstream = connect(port, "127.0.0.1");
    const cut = (): void => {
      client.destroy();
      upstream.destroy();
    };
    for (const socket of [client, upstream]) {
      sockets.add(socket);
      socket.on("error", cut);
      socket.on("close", () => {
        sockets.delete(socket);
        cut();
      });
    }
    let sent = 0;
    let received = 0;
    client.on("data", (chunk: Buffer) => {
      if (fault.silent) return;
      if (fault.status !== undefined) {
        client.end(`HTTP/1.1 ${fault.status} Broken\r\nContent-Length: 0\r\nConnection: close\r\n\r\n`);
        return;
      }
      const at = (fault.flipSentAt ?? -1) - sent;
      if (at >= 0 && at < chunk.byteLength) chunk[at] = (chunk[at] ?? 0) ^ 1;
      sent += chunk.byteLength;
      if (sent >= (fault.cutAfterSent ?? Number.POSITIVE_INFINITY)) return cut();
      if (!upstream.write(chunk)) {
        client.pause();
        upstream.once("drain", () => client.resume());
      }
    });
    upstream.on("data", (chunk: Buffer) => {
      received += chunk.byteLength;
      const over = received - (fault.cutAfterReceived ?? Number.POSITIVE_INFINITY);
      if (over >= 0) {
        client.write(chunk.subarray(0, chunk.byteLength - over), cut);
        return;
      }
      if (!client.write(chunk)) {
        upstream.pause();
        client.once("drain", () => upstream.resume());
      }
    });
  });
  const drop = (): void => {
    for (const socket of sockets) socket.destroy();
  };
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return {
    endpoint: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    get connections() {
      return connections;
    },
    faults(next) {
      connections = 0;
      faultOf = next;
      // Kept connections would go on without the new faults.
      drop();
    },
    drop,
    async stop() {
      drop();
      server.close();
      await once(server, "close");
    },
  };
}
