import { readFile } from "node:fs/promises";
import { isIP } from "node:net";
import { type ConnectionOptions, createSecureContext } from "node:tls";
import { BackypError, systemErrorCode } from "@zk-backyp/core";
import { z } from "zod";
import type { ServerAddress } from "./server-address.ts";

/** The files that TLS to a server needs, all PEM. They are read anew for each question: certificates get renewed. */
export interface TlsFiles {
  /** The CAs that may have signed the server's certificate. Default: those that Node knows. */
  readonly caFile?: string;
  /** The client certificate, with the chain behind it. Default: none is shown. */
  readonly certFile?: string;
  /** The client certificate's key, without a passphrase. */
  readonly keyFile?: string;
  /** The name that has to be in the server's certificate. Default: the address's host. */
  readonly serverName?: string;
}

const text = z.string().min(1, "is empty");

export const tlsFilesSchema: z.ZodType<TlsFiles> = z
  .strictObject({
    caFile: text,
    certFile: text,
    keyFile: text,
    serverName: text.refine((name) => isIP(name) === 0, "is an IP address: use it in the server's address instead"),
  })
  .partial()
  .refine(({ certFile, keyFile }) => (certFile === undefined) === (keyFile === undefined), {
    message: "needs certFile and keyFile together",
  }) as z.ZodType<TlsFiles>;

/**
 * What Node needs to connect with these files.
 *
 * @throws BackypError `ERR_CONFIG_INVALID` when a file cannot be read, or is none of its kind
 */
export async function loadTls(files: TlsFiles, { host }: ServerAddress): Promise<ConnectionOptions> {
  const read = async (name: "caFile" | "certFile" | "keyFile"): Promise<Buffer | undefined> => {
    const path = files[name];
    try {
      return path === undefined ? undefined : await readFile(path);
    } catch (cause) {
      const why = systemErrorCode(cause) === "ENOENT" ? "there is no such file" : (cause as Error).message;
      throw invalid(`cannot read tls.${name} ${path}: ${why}`, cause);
    }
  };
  const [ca, cert, key] = await Promise.all([read("caFile"), read("certFile"), read("keyFile")]);
  check({ ca }, `tls.caFile ${files.caFile} is no PEM file with certificates`);
  // Node takes any text, and then knows no CA.
  if (ca !== undefined && !/-----BEGIN ([A-Z0-9]+ )?CERTIFICATE-----/.test(ca.toString("latin1")))
    throw invalid(`tls.caFile ${files.caFile} holds no certificate`);
  check({ cert }, `tls.certFile ${files.certFile} is no PEM file with a certificate`);
  check({ key }, `tls.keyFile ${files.keyFile} is no PEM file with a key that has no passphrase`);
  check({ cert, key }, `the key in tls.keyFile ${files.keyFile} is not that of tls.certFile ${files.certFile}`);
  const servername = files.serverName ?? (isIP(host) === 0 ? host : undefined);
  return {
    ...(ca === undefined ? {} : { ca }),
    ...(cert === undefined || key === undefined ? {} : { cert, key }),
    ...(servername === undefined ? {} : { servername }),
  };
}

function check(parts: Record<string, Buffer | undefined>, problem: string): void {
  try {
    createSecureContext(parts);
  } catch (cause) {
    throw invalid(`${problem}: ${(cause as Error).message}`, cause);
  }
}

function invalid(message: string, cause?: unknown): BackypError {
  return new BackypError("ERR_CONFIG_INVALID", message, { cause });
}

/** Codes of OpenSSL for a certificate whose CA is not known. */
const UNKNOWN_CA: ReadonlySet<string | undefined> = new Set([
  "SELF_SIGNED_CERT_IN_CHAIN",
  "DEPTH_ZERO_SELF_SIGNED_CERT",
  "UNABLE_TO_VERIFY_LEAF_SIGNATURE",
  "UNABLE_TO_GET_ISSUER_CERT",
  "UNABLE_TO_GET_ISSUER_CERT_LOCALLY",
  "CERT_SIGNATURE_FAILURE",
]);

/** Why a connection failed, in words that say what to do about it. */
export function connectionProblem(error: Error, files: TlsFiles = {}): string {
  const code = systemErrorCode(error);
  // Without OpenSSL's places in its own source.
  const { reason } = error as { reason?: unknown };
  const said = typeof reason === "string" ? reason : error.message.trim();
  if (UNKNOWN_CA.has(code)) {
    return files.caFile === undefined
      ? `nobody that is known has signed its certificate (${said}): name the CA's file in tls.caFile`
      : `its certificate is signed by none of the CAs in ${files.caFile} (${said}): is that the right tls.caFile?`;
  }
  if (code === "ERR_TLS_CERT_ALTNAME_INVALID") {
    return `its certificate is for another name (${said}): use one of its names in the address, or in tls.serverName`;
  }
  if (code === "CERT_HAS_EXPIRED" || code === "CERT_NOT_YET_VALID") {
    return `its certificate is not valid now (${said}): renew it, or set the clock`;
  }
  if (/^ERR_SSL_.*ALERT.*(CERTIFICATE|UNKNOWN_CA|HANDSHAKE_FAILURE|ACCESS_DENIED|DECRYPT_ERROR)/.test(code ?? "")) {
    return files.certFile === undefined
      ? `it wants a client certificate (${said}): set tls.certFile and tls.keyFile`
      : `it refuses the client certificate in ${files.certFile} (${said}): is it signed by a CA in the server's trust store?`;
  }
  if (/^ERR_SSL_(WRONG_VERSION_NUMBER|PACKET_LENGTH_TOO_LONG|RECORD_LAYER_FAILURE)/.test(code ?? "")) {
    return `it does not speak TLS here (${said}): check the port, or leave TLS out of the address`;
  }
  // Where a name has several addresses, the error of all of them has no message.
  const each = error instanceof AggregateError ? error.errors.map((one: Error) => one.message).join("; ") : "";
  return each === "" ? said || String(code) : each;
}
