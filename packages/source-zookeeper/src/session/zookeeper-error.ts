import { BackypError, type ErrorDetails, isBackypError } from "@zk-backyp/core";

/** What a server, or the lack of one, says to a request: ZooKeeper's own codes, by the names of its Java client. */
const NAMES: ReadonlyMap<number, string> = new Map([
  [-1, "SYSTEM_ERROR"],
  [-2, "RUNTIME_INCONSISTENCY"],
  [-3, "DATA_INCONSISTENCY"],
  [-4, "CONNECTION_LOSS"],
  [-5, "MARSHALLING_ERROR"],
  [-6, "UNIMPLEMENTED"],
  [-7, "OPERATION_TIMEOUT"],
  [-8, "BAD_ARGUMENTS"],
  [-101, "NO_NODE"],
  [-102, "NO_AUTH"],
  [-103, "BAD_VERSION"],
  [-108, "NO_CHILDREN_FOR_EPHEMERALS"],
  [-110, "NODE_EXISTS"],
  [-111, "NOT_EMPTY"],
  [-112, "SESSION_EXPIRED"],
  [-114, "INVALID_ACL"],
  [-115, "AUTH_FAILED"],
  [-118, "SESSION_MOVED"],
  [-119, "NOT_READONLY"],
  [-120, "EPHEMERAL_ON_LOCAL_SESSION"],
  [-122, "REQUEST_TIMEOUT"],
  [-124, "SESSION_CLOSED_REQUIRE_SASL_AUTH"],
  [-125, "QUOTA_EXCEEDED"],
  [-127, "THROTTLED_OP"],
]);

/** The name of an error code in a reply. */
export function errorName(code: number): string {
  return NAMES.get(code) ?? `error ${code}`;
}

/** `ERR_SOURCE_UNAVAILABLE` with ZooKeeper's name of the error in `details.zooKeeperError`. */
export function zooKeeperError(
  name: string,
  message: string,
  options: { cause?: unknown; details?: ErrorDetails } = {},
): BackypError {
  const details = { ...options.details, zooKeeperError: name };
  return new BackypError("ERR_SOURCE_UNAVAILABLE", message, { cause: options.cause, details });
}

/** ZooKeeper's name of an error from {@link zooKeeperError}, undefined of any other. */
export function zooKeeperErrorOf(error: unknown): string | undefined {
  const name = isBackypError(error) ? error.details.zooKeeperError : undefined;
  return typeof name === "string" ? name : undefined;
}
