/**
 * What a supervisor says of the node.
 *
 * - `running`: it is there, and no action on it is pending;
 * - `starting`, `stopping`: an action was asked for and is not over, so the node may be there or not;
 * - `stopped`: at rest because somebody asked for it;
 * - `failed`: down, and nobody asked for it. A supervisor may bring it back by itself at any time.
 */
export type NodeState = "running" | "starting" | "stopping" | "stopped" | "failed";

export interface NodeStatus {
  readonly state: NodeState;
  /** The main process, where the supervisor knows of one. While a stop is pending it is still the living process. */
  readonly pid: number | null;
}

/**
 * How one ZooKeeper node is stopped and started: through whatever supervises it, because a supervisor would start a
 * process again that was merely killed.
 *
 * Every method fails with `ERR_NODE_CONTROL` when the supervisor cannot be asked or refuses, and with the signal's
 * reason (`ERR_ABORTED`) when it is aborted. An abort withdraws nothing that was asked for already.
 *
 * `nodeControlContract` of `@zk-backyp/source-zookeeper/testing` checks an implementation.
 */
export interface NodeControl {
  /** For people: `monit's service zookeeper`. The same for every control of the same node, also after a restart. */
  readonly name: string;
  /**
   * Asks for the stop; may resolve before it is done. Idempotent. Never kills: an administrator's own stop timeout is
   * the supervisor's affair.
   *
   * @param options.backInMs how long in milliseconds the node may stay down. A control that starts the node itself when
   * the caller is gone (`startCommand` is null) does so after this time; others need not look at it.
   */
  stop(options: { readonly signal: AbortSignal; readonly backInMs: number }): Promise<void>;
  /**
   * Asks for the start; may resolve before it is done. Idempotent: it may be called while the node runs, is starting, or
   * is being stopped (it then waits, or tries again, until the start is accepted). A supervisor that is restarted can
   * forget a request that it had accepted, so whoever waits for the node asks again now and then.
   */
  start(options: { readonly signal: AbortSignal }): Promise<void>;
  status(options: { readonly signal: AbortSignal }): Promise<NodeStatus>;
  /**
   * A command (absolute path and arguments, no shell) that asks for the start without this process, for the guard that
   * outlives it: exit code 0 means accepted, anything else to try again. Holds no secret. Null: the control keeps the
   * promise itself.
   */
  readonly startCommand: readonly string[] | null;
  /**
   * False where a node that nobody asked to stop may be called `stopped` too, so that an operator's stop cannot be told
   * from a crash: then a start that is owed stays owed. Default: true.
   */
  readonly tellsFailed?: boolean;
  /** Why an operator wants the node to stay stopped (a masked unit), or null if nothing says so. */
  whyKeepStopped?(options: { readonly signal: AbortSignal }): Promise<string | null>;
  /** Lets go of what the control holds open. Does not touch the node. */
  close(): Promise<void>;
}
