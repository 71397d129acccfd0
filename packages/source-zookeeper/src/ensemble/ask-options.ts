import type { TlsFiles } from "./tls-files.ts";

/** How a server is asked. */
export interface AskOptions {
  /** For addresses with TLS. */
  readonly tls?: TlsFiles | undefined;
  /** How long an answer may take, from the first try to connect to the last byte. 5 s if not given. */
  readonly timeoutMs?: number | undefined;
}

/** A server answers within milliseconds; one that is just starting may accept a connection and never answer. */
export const ANSWER_TIMEOUT_MS = 5_000;
/** The longest answers (`mntr` with many metrics) stay far below. */
export const MAX_ANSWER_BYTES: number = 4 * 1024 * 1024;
