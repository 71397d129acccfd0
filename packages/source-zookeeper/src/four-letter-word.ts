import { connect as connectPlain, type Socket } from "node:net";
import { connect as connectTls } from "node:tls";
import { abortError, BackypError } from "@zk-backyp/core";
import { ANSWER_TIMEOUT_MS, type AskOptions, MAX_ANSWER_BYTES } from "./ensemble/ask-options.ts";
import { formatServerAddress, type ServerAddress } from "./ensemble/server-address.ts";
import { connectionProblem, loadTls } from "./ensemble/tls-files.ts";

/** What a server says, in every release, while it has no quorum or is starting. */
export const NOT_SERVING = "not currently serving requests";

/**
 * Sends one of ZooKeeper's four-letter words to a client port, plain or with TLS, and returns the answer.
 *
 * @throws BackypError `ERR_SOURCE_UNAVAILABLE` when there is no answer, or a refusal
 * @throws BackypError `ERR_CONFIG_INVALID` when a file for TLS cannot be used
 */
export async function askServer(
  address: ServerAddress,
  word: string,
  { tls = {}, timeoutMs = ANSWER_TIMEOUT_MS }: AskOptions,
  signal: AbortSignal,
): Promise<string> {
  if (signal.aborted) throw abortError(signal);
  const { host, port } = address;
  const server = formatServerAddress(address);
  const unavailable = (why: string, options: { cause?: unknown; notServing?: true } = {}): BackypError => {
    const { cause, ...rest } = options;
    return new BackypError(
      "ERR_SOURCE_UNAVAILABLE",
      `the ZooKeeper server ${server} did not answer "${word}": ${why}`,
      {
        cause,
        details: { server, word, ...rest },
      },
    );
  };
  const isTls = address.scheme === "tls";
  const secure = isTls ? await loadTls(tls, address) : {};

  const answer = await new Promise<string>((resolve, reject) => {
    const chunks: Buffer[] = [];
    let size = 0;
    const socket: Socket = isTls ? connectTls({ host, port, ...secure }) : connectPlain({ host, port });
    const settle = (done: () => void): void => {
      signal.removeEventListener("abort", onAbort);
      clearTimeout(timer);
      socket.destroy();
      done();
    };
    const onAbort = (): void => settle(() => reject(abortError(signal)));
    signal.addEventListener("abort", onAbort, { once: true });
    const inTime = `no answer within ${timeoutMs / 1000} s; is it starting, or is this no ${isTls ? "secureClientPort" : "plain (not TLS) client port"}?`;
    const timer = setTimeout(() => settle(() => reject(unavailable(inTime))), timeoutMs);
    if (signal.aborted) onAbort();
    socket.on(isTls ? "secureConnect" : "connect", () => socket.write(word));
    socket.on("data", (chunk) => {
      chunks.push(chunk);
      size += chunk.byteLength;
      if (size > MAX_ANSWER_BYTES) settle(() => reject(unavailable("the answer does not end")));
    });
    const end = (): void => settle(() => resolve(Buffer.concat(chunks).toString("utf8")));
    socket.on("end", end);
    socket.on("close", end);
    socket.on("error", (error) => settle(() => reject(unavailable(connectionProblem(error, tls), { cause: error }))));
  });

  if (answer.includes("is not in the whitelist")) {
    throw unavailable(`add it to 4lw.commands.whitelist in the server's zoo.cfg and restart the server`);
  }
  if (answer.includes(NOT_SERVING)) {
    throw unavailable("it is not serving: it has no quorum", { notServing: true });
  }
  if (answer === "") {
    throw unavailable(
      isTls
        ? `it closed the connection; does it ${tls.certFile === undefined ? "want a client certificate (tls.certFile and tls.keyFile)" : `refuse the client certificate in ${tls.certFile}`}?`
        : "it closed the connection; is this a plain (not TLS) client port?",
    );
  }
  return answer;
}
