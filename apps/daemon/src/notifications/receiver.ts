import type { Clock, Logger } from "@zk-backyp/core";
import type { NotificationConfig, NotifiedEvent } from "../config.ts";
import type { Metrics } from "../metrics/metrics.ts";
import type { Notification } from "./notification.ts";
import { runNotifyCommand } from "./notify-command.ts";
import { originOf, postWebhook } from "./webhook.ts";

/** How many notifications may wait for one receiver. */
const QUEUE_LIMIT = 100;

export interface ReceiverContext {
  readonly logger: Logger;
  readonly clock: Clock;
  readonly count: Metrics["countNotification"];
  /** Ends what is under way. */
  readonly signal: AbortSignal;
}

/** Somebody who is told, one thing after the other. */
export class Receiver {
  readonly #config: NotificationConfig;
  readonly #context: ReceiverContext;
  readonly #name: string;
  #waiting: Notification[] = [];
  #work: Promise<void> | null = null;

  constructor(config: NotificationConfig, context: ReceiverContext) {
    this.#config = config;
    this.#context = context;
    // No more of it: a path, a query, an argument may hold a token.
    this.#name = config.use === "webhook" ? originOf(config.url) : (config.command[0] ?? "");
  }

  /**
   * Never waits.
   *
   * @param told of what somebody was told, if this tells that it is over
   */
  tell(notification: Notification, told: ReadonlySet<NotifiedEvent>): void {
    if (!this.#wants(notification.event, told)) return;
    if (this.#waiting.length >= QUEUE_LIMIT) this.#drop(this.#waiting.shift());
    this.#waiting.push(notification);
    this.#work ??= this.#sendAll().finally(() => {
      this.#work = null;
    });
  }

  /** Resolves when everything was sent, failed, or was dropped since the signal was aborted. Never rejects. */
  async idle(): Promise<void> {
    await this.#work;
  }

  /** Who was never told that something is wrong is not told that it is over, unless that is all he asks for. */
  #wants(event: NotifiedEvent, told: ReadonlySet<NotifiedEvent>): boolean {
    const { on } = this.#config;
    if (on === undefined) return true;
    return on.includes(event) && (event !== "recovery" || on.length === 1 || on.some((one) => told.has(one)));
  }

  async #sendAll(): Promise<void> {
    for (let next = this.#waiting.shift(); next !== undefined; next = this.#waiting.shift()) {
      if (this.#context.signal.aborted) this.#drop(next);
      else await this.#send(next);
    }
  }

  async #send(notification: Notification): Promise<void> {
    const { logger, count } = this.#context;
    const { event, series, runId } = notification;
    const fields = { series, runId, notification: event, receiver: this.#name };
    try {
      const output =
        this.#config.use === "webhook"
          ? await postWebhook(this.#config, notification, this.#context)
          : await runNotifyCommand(this.#config, notification, this.#context);
      count(this.#config.use, "sent");
      logger.info({ event: "notification.sent", ...fields, ...(output ? { output } : {}) }, `told ${this.#name}`);
    } catch (error) {
      count(this.#config.use, "failed");
      const reason = this.#context.signal.aborted ? "the daemon ended first" : (error as Error).message;
      logger.warn({ event: "notification.failed", ...fields, reason }, `could not tell ${this.#name}: ${reason}`);
    }
  }

  #drop(notification: Notification | undefined): void {
    if (notification === undefined) return;
    const { logger, count } = this.#context;
    const { event, series, runId } = notification;
    count(this.#config.use, "dropped");
    logger.warn(
      { event: "notification.dropped", series, runId, notification: event, receiver: this.#name },
      `could not tell ${this.#name}: too much waits for it, or the daemon ends`,
    );
  }
}
