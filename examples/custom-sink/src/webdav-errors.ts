import { abortError, BackypError, type ErrorCode, isBackypError } from "@zk-backyp/core";

/** The HTTP status that an error of the library `webdav` carries, or undefined. */
export function statusOf(error: unknown): number | undefined {
  const status = (error as { status?: unknown } | null)?.status;
  return typeof status === "number" ? status : undefined;
}

const MEANINGS: Readonly<Record<number, readonly [code: ErrorCode, why: string]>> = {
  401: ["ERR_SINK_DENIED", "the server wants a valid username and password"],
  403: ["ERR_SINK_DENIED", "the server does not allow it to this user"],
  404: ["ERR_SINK_NOT_FOUND", "there is no such collection; make it on the server first"],
  409: ["ERR_SINK_NOT_FOUND", "there is no such collection; make it on the server first"],
  412: ["ERR_OBJECT_EXISTS", "it exists already and was left as it is"],
  507: ["ERR_SINK_FULL", "no space left on the server"],
};

/** What a failure means to core. What is a BackypError, or came out of a body, is passed on as it is. */
export function webdavError(action: string, location: string, error: unknown, signal: AbortSignal): unknown {
  if (isBackypError(error)) return error;
  if (signal.aborted) return abortError(signal);
  const status = statusOf(error);
  const [code, why] = MEANINGS[status ?? 0] ?? ["ERR_SINK_UNAVAILABLE", (error as Error).message];
  return new BackypError(code, `cannot ${action} in ${location}: ${why}`, { cause: error, details: { status } });
}
