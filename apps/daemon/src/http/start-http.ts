import { readFile } from "node:fs/promises";
import { createServer, type RequestListener, type Server, type ServerOptions } from "node:http";
import { createServer as createTlsServer } from "node:https";
import type { AddressInfo } from "node:net";
import { createSecureContext } from "node:tls";
import { BackypError, systemErrorCode } from "@zk-backyp/core";
import type { HttpConfig } from "../config.ts";
import type { DaemonView } from "../daemon/daemon-view.ts";
import { createHttpApp, type HttpParts } from "./http-app.ts";

/** Of the request line and the headers together. */
const MAX_HEADER_BYTES = 8 * 1024;
/** A client that takes longer than this to send its headers, or the whole request, is cut off. */
const HEADERS_TIMEOUT_MS = 10_000;
const REQUEST_TIMEOUT_MS = 15_000;
const TIMEOUT_CHECK_MS = 2_000;
/** A connection on which nothing moves, also because the client does not read what it has asked for. */
const IDLE_TIMEOUT_MS = 30_000;
const KEEP_ALIVE_MS = 10_000;
const MAX_CONNECTIONS = 2_000;
/** For answers that are under way when the daemon ends. */
const CLOSE_TIMEOUT_MS = 3_000;

/** The daemon's HTTP interface, listening. */
export interface HttpServer {
  /** Where it listens: `http://127.0.0.1:9642`. */
  readonly url: string;
  /** Accepts nobody any more, ends the streams of events, and waits some seconds at most for other answers. */
  close(): Promise<void>;
}

/**
 * Serves the daemon's state, and takes requests to run and verify from who has the token.
 *
 * @param tls what it shows its clients (see {@link readIdentity}); null for plain HTTP. Default: what `config` names
 * @throws BackypError `ERR_CONFIG_INVALID` if it cannot listen there, or certificate and key are not good
 */
export async function startHttp(
  view: DaemonView,
  config: HttpConfig,
  parts: HttpParts,
  tls?: Identity | null,
): Promise<HttpServer> {
  const identity = tls === undefined ? await readIdentity(config.tls) : tls;
  let server: Server | undefined;
  const { app } = await createHttpApp(view, config, parts, (listener) => {
    server = createLimitedServer(listener, identity);
    return server;
  });
  try {
    await app.listen({ host: config.host, port: config.port });
  } catch (cause) {
    await app.close();
    throw cannotListen(config, cause);
  }
  const address = app.server.address() as AddressInfo;
  const host = address.family === "IPv6" ? `[${address.address}]` : address.address;
  const url = `${identity === null ? "http" : "https"}://${host}:${address.port}`;

  let closed: Promise<void> | null = null;
  return {
    url,
    close() {
      closed ??= (async () => {
        const late = setTimeout(() => server?.closeAllConnections(), CLOSE_TIMEOUT_MS);
        await app.close();
        clearTimeout(late);
      })();
      return closed;
    },
  };
}

/** A certificate and its key, as PEM. */
export interface Identity {
  readonly cert: Buffer;
  readonly key: Buffer;
}

function createLimitedServer(listener: RequestListener, tls: Identity | null): Server {
  const options: ServerOptions = {
    maxHeaderSize: MAX_HEADER_BYTES,
    headersTimeout: HEADERS_TIMEOUT_MS,
    requestTimeout: REQUEST_TIMEOUT_MS,
    connectionsCheckingInterval: TIMEOUT_CHECK_MS,
    keepAliveTimeout: KEEP_ALIVE_MS,
    // It would be answered without a body: see the app.
    requireHostHeader: false,
  };
  // A server with TLS has all that one without has.
  const server: Server =
    tls === null
      ? createServer(options, listener)
      : (createTlsServer({ ...options, ...tls, handshakeTimeout: HEADERS_TIMEOUT_MS }, listener) as Server);
  // Expectations that nobody knows may be ignored; the default answer to them has no body.
  server.on("checkExpectation", listener);
  server.maxConnections = MAX_CONNECTIONS;
  server.setTimeout(IDLE_TIMEOUT_MS);
  return server;
}

/**
 * Reads certificate and key, and sees whether they belong together.
 *
 * @throws BackypError `ERR_CONFIG_INVALID`
 */
export async function readIdentity(files: HttpConfig["tls"]): Promise<Identity | null> {
  if (files === undefined) return null;
  const [cert, key] = await Promise.all([readPem(files.certFile, "certFile"), readPem(files.keyFile, "keyFile")]);
  try {
    createSecureContext({ cert, key });
    return { cert, key };
  } catch (cause) {
    throw new BackypError(
      "ERR_CONFIG_INVALID",
      `http.tls: ${files.certFile} and ${files.keyFile} are not a certificate and its key, both PEM and the key without a passphrase (${systemErrorCode(cause) ?? "unreadable"})`,
      { details: { certFile: files.certFile, keyFile: files.keyFile } },
    );
  }
}

async function readPem(path: string, option: string): Promise<Buffer> {
  try {
    return await readFile(path);
  } catch (cause) {
    throw new BackypError(
      "ERR_CONFIG_INVALID",
      `http.tls.${option}: cannot read ${path} (${systemErrorCode(cause)}): correct the path, or let this user read it`,
      { cause, details: { path } },
    );
  }
}

const LISTEN_REMEDIES: Readonly<Record<string, string>> = {
  EADDRINUSE: "something listens there already, maybe another daemon: end it, or set http.port to another port",
  EACCES: "this user may not use that port: set http.port to one above 1023",
  EADDRNOTAVAIL: "this machine has no such address: set http.host to one that it has, such as 127.0.0.1 or 0.0.0.0",
  ENOTFOUND: "no such host is known: set http.host to an address of this machine, such as 127.0.0.1",
};

function cannotListen({ host, port }: HttpConfig, cause: unknown): BackypError {
  const code = systemErrorCode(cause) ?? "";
  const remedy = LISTEN_REMEDIES[code] ?? "set http.host and http.port to an address and a port of this machine";
  return new BackypError("ERR_CONFIG_INVALID", `cannot listen on ${host}, port ${port} (${code}): ${remedy}`, {
    cause,
    details: { host, port },
  });
}
