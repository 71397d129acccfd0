import { type ErrorCode, isBackypError } from "@zk-backyp/core";

/** What only HTTP knows of, beside the codes of core. Codes are only ever added. */
export type HttpErrorCode =
  | "ERR_REQUEST_INVALID"
  | "ERR_REQUEST_TOO_LARGE"
  | "ERR_REQUEST_TIMEOUT"
  | "ERR_MEDIA_TYPE"
  | "ERR_TOKEN_WRONG"
  | "ERR_TOKEN_NOT_CONFIGURED"
  | "ERR_HOST_REFUSED"
  | "ERR_NOT_FOUND"
  | "ERR_SERIES_NOT_FOUND"
  | "ERR_METHOD_NOT_ALLOWED"
  | "ERR_TOO_MANY_REQUESTS"
  | "ERR_TOO_MANY_STREAMS"
  | "ERR_UNAVAILABLE";

const httpStatuses: Readonly<Record<HttpErrorCode, number>> = {
  ERR_REQUEST_INVALID: 400,
  ERR_REQUEST_TOO_LARGE: 413,
  ERR_REQUEST_TIMEOUT: 408,
  ERR_MEDIA_TYPE: 415,
  ERR_TOKEN_WRONG: 401,
  ERR_TOKEN_NOT_CONFIGURED: 403,
  ERR_HOST_REFUSED: 421,
  ERR_NOT_FOUND: 404,
  ERR_SERIES_NOT_FOUND: 404,
  ERR_METHOD_NOT_ALLOWED: 405,
  ERR_TOO_MANY_REQUESTS: 429,
  ERR_TOO_MANY_STREAMS: 503,
  ERR_UNAVAILABLE: 503,
};

// 502: the store, the server or what lies there is at fault, not this daemon.
const statuses: Readonly<Record<ErrorCode, number>> = {
  ERR_ABORTED: 503,
  ERR_BUSY: 409,
  ERR_HELD: 409,
  ERR_SLOT_TAKEN: 409,
  ERR_NOT_ELECTED: 409,
  ERR_CONFIG_INVALID: 500,
  ERR_PLUGIN_NOT_FOUND: 500,
  ERR_PLUGIN_INVALID: 500,
  ERR_SOURCE_UNAVAILABLE: 502,
  ERR_SOURCE_CHANGED: 502,
  ERR_SOURCE_DAMAGED: 502,
  ERR_NODE_CONTROL: 502,
  ERR_STOP_REFUSED: 409,
  ERR_NODE_DOWN: 502,
  ERR_SINK_UNAVAILABLE: 502,
  ERR_SINK_NOT_FOUND: 502,
  ERR_SINK_DENIED: 502,
  ERR_SINK_FULL: 502,
  ERR_OBJECT_NOT_FOUND: 404,
  ERR_OBJECT_EXISTS: 409,
  ERR_BACKUP_NOT_FOUND: 404,
  ERR_BACKUP_DAMAGED: 502,
  ERR_ARCHIVE_CORRUPT: 502,
  ERR_CHECKSUM_MISMATCH: 502,
  ERR_MANIFEST_INVALID: 502,
  ERR_MANIFEST_UNSUPPORTED: 502,
  ERR_TARGET_IN_USE: 409,
  ERR_TARGET_NOT_EMPTY: 409,
  ERR_TARGET_UNAVAILABLE: 502,
  ERR_REHEARSAL_FAILED: 502,
  ERR_REHEARSAL_UNAVAILABLE: 502,
  ERR_DAEMON_UNAVAILABLE: 502,
  ERR_INTERNAL: 500,
};

/** An answer that is an error. */
export class HttpError extends Error {
  readonly code: HttpErrorCode;

  constructor(code: HttpErrorCode, message: string) {
    super(message);
    this.name = "HttpError";
    this.code = code;
  }
}

/** An error as it is answered. */
export interface ErrorAnswer {
  readonly status: number;
  readonly code: ErrorCode | HttpErrorCode;
  readonly message: string;
  /** Nobody foresaw it: the log has to say what was not answered. */
  readonly isUnforeseen: boolean;
}

// What fastify itself refuses, by its status.
const refusals: Readonly<Record<number, HttpErrorCode>> = {
  400: "ERR_REQUEST_INVALID",
  413: "ERR_REQUEST_TOO_LARGE",
  415: "ERR_MEDIA_TYPE",
  503: "ERR_UNAVAILABLE",
};

/** How a failure is answered: in words that were made for people, or in none that nobody has checked. */
export function errorAnswer(error: unknown): ErrorAnswer {
  if (error instanceof HttpError) {
    return { status: httpStatuses[error.code], code: error.code, message: error.message, isUnforeseen: false };
  }
  if (isBackypError(error) && error.code !== "ERR_INTERNAL") {
    return { status: statuses[error.code] ?? 500, code: error.code, message: error.message, isUnforeseen: false };
  }
  const { statusCode, code, message } = (error ?? {}) as { statusCode?: number; code?: unknown; message?: string };
  const refusal = typeof code === "string" && code.startsWith("FST_ERR_") ? refusals[statusCode ?? 0] : undefined;
  if (statusCode !== undefined && refusal !== undefined) {
    return { status: statusCode, code: refusal, message: message ?? "", isUnforeseen: false };
  }
  return {
    status: 500,
    code: "ERR_INTERNAL",
    message: "this was not foreseen: the daemon's log says more",
    isUnforeseen: true,
  };
}

/** The body of an answer that is an error. */
export function errorBody({ code, message }: Pick<ErrorAnswer, "code" | "message">): object {
  return { error: { code, message } };
}
