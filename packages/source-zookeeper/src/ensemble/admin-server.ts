import { request as requestPlain } from "node:http";
import { request as requestTls } from "node:https";
import { abortError, BackypError, systemErrorCode } from "@zk-backyp/core";
import { NOT_SERVING } from "../four-letter-word.ts";
import { ANSWER_TIMEOUT_MS, type AskOptions, MAX_ANSWER_BYTES } from "./ask-options.ts";
import { formatServerAddress, type ServerAddress } from "./server-address.ts";
import { connectionProblem, loadTls } from "./tls-files.ts";

/**
 * Asks ZooKeeper's AdminServer (3.5 and later) for one of its commands, and returns the JSON of the answer.
 *
 * @throws BackypError `ERR_SOURCE_UNAVAILABLE` when there is no answer, or a refusal
 * @throws BackypError `ERR_CONFIG_INVALID` when a file for TLS cannot be used
 */
export async function askAdminServer(
  address: ServerAddress,
  command: string,
  { tls = {}, timeoutMs = ANSWER_TIMEOUT_MS }: AskOptions,
  signal: AbortSignal,
): Promise<Readonly<Record<string, unknown>>> {
  if (signal.aborted) throw abortError(signal);
  const server = formatServerAddress(address);
  const unavailable = (why: string, options: { cause?: unknown; notServing?: true } = {}): BackypError => {
    const { cause, ...rest } = options;
    return new BackypError("ERR_SOURCE_UNAVAILABLE", `the AdminServer ${server} did not answer "${command}": ${why}`, {
      cause,
      details: { server, command, ...rest },
    });
  };
  const isTls = address.scheme === "https";
  const secure = isTls ? await loadTls(tls, address) : {};

  const { status, body } = await new Promise<{ status: number; body: string }>((resolve, reject) => {
    const settle = (done: () => void): void => {
      signal.removeEventListener("abort", onAbort);
      clearTimeout(timer);
      request.destroy();
      done();
    };
    const fail = (error: Error): void => {
      const isCut = systemErrorCode(error) === "ECONNRESET";
      const why = isCut
        ? "it closed the connection; does it speak http on this port, or https?"
        : connectionProblem(error, tls);
      settle(() => reject(unavailable(why, { cause: error })));
    };
    const onAbort = (): void => settle(() => reject(abortError(signal)));
    const inTime = `no answer within ${timeoutMs / 1000} s`;
    const timer = setTimeout(() => settle(() => reject(unavailable(inTime))), timeoutMs);
    const request = (isTls ? requestTls : requestPlain)({
      ...secure,
      host: address.host,
      port: address.port,
      path: `/commands/${command}`,
      headers: { accept: "application/json" },
      agent: false,
    });
    signal.addEventListener("abort", onAbort, { once: true });
    if (signal.aborted) onAbort();
    request.on("error", fail);
    request.on("response", (response) => {
      const chunks: Buffer[] = [];
      let size = 0;
      response.on("data", (chunk: Buffer) => {
        chunks.push(chunk);
        size += chunk.byteLength;
        if (size > MAX_ANSWER_BYTES) settle(() => reject(unavailable("the answer does not end")));
      });
      response.on("error", fail);
      response.on("end", () => {
        const text = Buffer.concat(chunks).toString("utf8");
        settle(() => resolve({ status: response.statusCode ?? 0, body: text }));
      });
    });
    request.end();
  });

  const answer = parseAnswer(body);
  if (answer === null) {
    const hint =
      status >= 300 && status < 400 ? "; does it want https?" : "; is this ZooKeeper's AdminServer (admin.serverPort)?";
    throw unavailable(`it answered with HTTP status ${status} and no JSON object${hint}`);
  }
  const { error } = answer;
  if (typeof error === "string") {
    if (error.includes(NOT_SERVING)) throw unavailable("it is not serving: it has no quorum", { notServing: true });
    throw unavailable(error);
  }
  if (status !== 200) throw unavailable(`HTTP status ${status}`);
  return answer;
}

/** A zxid may have more digits than a number in JavaScript keeps: long whole numbers become bigints. */
function parseAnswer(body: string): Record<string, unknown> | null {
  try {
    const parsed: unknown = JSON.parse(body, ((_key, value: unknown, context?: { source?: string }) => {
      if (typeof value !== "number" || Number.isSafeInteger(value)) return value;
      return /^-?\d+$/.test(context?.source ?? "") ? BigInt(context?.source ?? 0) : value;
    }) as (key: string, value: unknown) => unknown);
    return typeof parsed === "object" && parsed !== null && !Array.isArray(parsed)
      ? (parsed as Record<string, unknown>)
      : null;
  } catch {
    return null;
  }
}
