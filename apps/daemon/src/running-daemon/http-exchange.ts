import { X509Certificate } from "node:crypto";
import { once } from "node:events";
import { readFile } from "node:fs/promises";
import { type ClientRequest, type IncomingMessage, request } from "node:http";
import { connect as connectTcp, isIP, type Socket } from "node:net";
import { resolve } from "node:path";
import { connect as connectTls, type TLSSocket } from "node:tls";
import { BackypError, systemErrorCode } from "@zk-backyp/core";
import type { HttpConfig } from "../config.ts";

/** More is no status of any daemon. */
const MAX_ANSWER_BYTES = 16 * 1024 * 1024;

/** What is asked, and of whom. */
export interface ExchangeOptions extends Pick<HttpConfig, "host" | "port" | "tls"> {
  /** Paths of `tls` are relative to it. */
  readonly folder: string;
  readonly path: string;
  readonly authorization: string | null;
  /** With it this is a POST. */
  readonly body?: object | undefined;
}

/** `gone`: nobody listens there. `silent`: who listens did not answer, or hung up. `failed`: it cannot be asked. */
export type Exchange =
  | { readonly kind: "gone" }
  | { readonly kind: "silent"; readonly why: string }
  | { readonly kind: "failed"; readonly why: string; readonly cause: unknown }
  | { readonly kind: "answered"; readonly code: number; readonly text: string };

/**
 * Asks what listens there once. By TLS it has to show the very certificate that it was given, by whomever that is signed
 * and for whichever name, before anything is sent.
 *
 * @throws BackypError `ERR_CONFIG_INVALID` if the certificate cannot be read
 */
export async function httpExchange(options: ExchangeOptions, signal: AbortSignal): Promise<Exchange> {
  const { tls, folder } = options;
  const certificate = tls === undefined ? null : await ownCertificate(resolve(folder, tls.certFile));
  let socket: Socket | null = null;
  const cut = (): void => void socket?.destroy(new Silent("it has not answered in time"));
  signal.addEventListener("abort", cut, { once: true });
  try {
    if (signal.aborted) throw new Silent("it was not asked in time");
    const { host, port } = options;
    if (certificate === null) {
      socket = connectTcp({ host, port });
      await once(socket, "connect");
    } else {
      // Whoever it is signed by: it is compared below.
      const name = isIP(host) === 0 ? { servername: host } : {};
      const secure: TLSSocket = connectTls({ host, port, ...name, rejectUnauthorized: false });
      socket = secure;
      await once(secure, "secureConnect");
      if (secure.getPeerX509Certificate()?.fingerprint256 !== certificate.fingerprint256) {
        const why = `it shows another certificate than ${tls?.certFile}: if that was renewed, reload the daemon (SIGHUP)`;
        return { kind: "failed", why, cause: undefined };
      }
    }
    return await answerTo(options, socket);
  } catch (cause) {
    return failure(cause);
  } finally {
    signal.removeEventListener("abort", cut);
    socket?.destroy();
  }
}

async function answerTo({ host, port, path, authorization, body }: ExchangeOptions, socket: Socket): Promise<Exchange> {
  const text = body === undefined ? "" : JSON.stringify(body);
  const asked: ClientRequest = request({
    createConnection: () => socket,
    method: body === undefined ? "GET" : "POST",
    path,
    headers: {
      host: `${host.includes(":") ? `[${host}]` : host}:${port}`,
      connection: "close",
      ...(authorization === null ? {} : { authorization }),
      ...(body === undefined ? {} : { "content-type": "application/json", "content-length": Buffer.byteLength(text) }),
    },
  });
  // What is still to come of a connection that was given up is nobody's.
  asked.on("error", () => {});
  asked.end(text);
  const [answer] = (await once(asked, "response")) as [IncomingMessage];
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of answer as AsyncIterable<Buffer>) {
    bytes += chunk.length;
    if (bytes > MAX_ANSWER_BYTES) return { kind: "failed", why: "its answer has no end", cause: undefined };
    chunks.push(chunk);
  }
  return { kind: "answered", code: answer.statusCode ?? 0, text: Buffer.concat(chunks).toString("utf8") };
}

class Silent extends Error {}

/** A daemon that ends, or is hung, breaks connections off; the next question shows whether it is gone. */
const BROKEN_OFF: ReadonlySet<string> = new Set(["ECONNRESET", "EPIPE", "ETIMEDOUT", "ECONNABORTED"]);

function failure(cause: unknown): Exchange {
  const code = systemErrorCode(cause) ?? "";
  const { message } = cause as Error;
  if (code === "ECONNREFUSED") return { kind: "gone" };
  if (cause instanceof Silent || BROKEN_OFF.has(code)) return { kind: "silent", why: message };
  return { kind: "failed", why: message, cause };
}

async function ownCertificate(path: string): Promise<X509Certificate> {
  try {
    return new X509Certificate(await readFile(path));
  } catch (cause) {
    throw new BackypError("ERR_CONFIG_INVALID", `http.tls.certFile: cannot read ${path}: ${(cause as Error).message}`, {
      cause,
    });
  }
}
