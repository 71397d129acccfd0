import { connect } from "node:net";
import { abortError, BackypError } from "@zk-backyp/core";

export interface ServerAddress {
  readonly host: string;
  readonly port: number;
}

/** A server answers within milliseconds; one that is just starting may accept a connection and never answer. */
const ANSWER_TIMEOUT_MS = 5_000;
/** The longest answers (`cons` on a busy server) stay far below. */
const MAX_ANSWER_BYTES = 4 * 1024 * 1024;

/** Splits `host:port`, also with an IPv6 address in brackets. The form was checked with the options. */
export function parseServerAddress(text: string): ServerAddress {
  const colon = text.lastIndexOf(":");
  return { host: text.slice(0, colon).replace(/^\[|\]$/g, ""), port: Number(text.slice(colon + 1)) };
}

/**
 * Sends one of ZooKeeper's four-letter words to a plain client port and returns the answer.
 *
 * @throws BackypError `ERR_SOURCE_UNAVAILABLE` when there is no answer, or a refusal
 */
export async function askServer(
  { host, port }: ServerAddress,
  word: string,
  signal: AbortSignal,
  timeoutMs: number = ANSWER_TIMEOUT_MS,
): Promise<string> {
  if (signal.aborted) throw abortError(signal);
  const where = `${host}:${port}`;
  const unavailable = (why: string, cause?: unknown): BackypError =>
    new BackypError("ERR_SOURCE_UNAVAILABLE", `the ZooKeeper server ${where} did not answer "${word}": ${why}`, {
      cause,
      details: { server: where, word },
    });

  const answer = await new Promise<string>((resolve, reject) => {
    const chunks: Buffer[] = [];
    let size = 0;
    const socket = connect({ host, port });
    const settle = (done: () => void): void => {
      signal.removeEventListener("abort", onAbort);
      socket.destroy();
      done();
    };
    const onAbort = (): void => settle(() => reject(abortError(signal)));
    signal.addEventListener("abort", onAbort, { once: true });
    const inTime = `no answer within ${timeoutMs / 1000} s`;
    socket.setTimeout(timeoutMs, () => settle(() => reject(unavailable(inTime))));
    socket.on("connect", () => socket.write(word));
    socket.on("data", (chunk) => {
      chunks.push(chunk);
      size += chunk.byteLength;
      if (size > MAX_ANSWER_BYTES) settle(() => reject(unavailable("the answer does not end")));
    });
    socket.on("end", () => settle(() => resolve(Buffer.concat(chunks).toString("utf8"))));
    socket.on("error", (error) => settle(() => reject(unavailable(error.message, error))));
  });

  if (answer.includes("is not in the whitelist")) {
    throw unavailable(`add it to 4lw.commands.whitelist in the server's zoo.cfg and restart the server`);
  }
  if (answer.includes("not currently serving requests")) throw unavailable("it is not serving: it has no quorum");
  if (answer === "") throw unavailable("it closed the connection; is this a plain (not TLS) client port?");
  return answer;
}
