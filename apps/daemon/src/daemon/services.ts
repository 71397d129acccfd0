import { isDeepStrictEqual } from "node:util";
import { BackypError } from "@zk-backyp/core";
import type { DaemonConfig, HttpConfig } from "../config.ts";
import { type Identity, readIdentity, startHttp } from "../http/start-http.ts";
import { statusPage } from "../http/status-page.ts";
import { createMetrics, type Metrics } from "../metrics/metrics.ts";
import { type Notifications, startNotifications } from "../notifications/notifications.ts";
import type { DaemonView } from "./daemon-view.ts";
import type { DaemonLogger } from "./log.ts";

/** What tells others how the daemon is: HTTP, metrics, notifications. */
export class Services {
  readonly #view: DaemonView;
  readonly #logger: DaemonLogger;
  readonly #metrics: Metrics;
  #config: DaemonConfig | null = null;
  #identity: Identity | null = null;
  #isClosed = false;
  readonly #notifications: Notifications;
  #http: { readonly url: string; close(): Promise<void> } | null = null;

  constructor(view: DaemonView, logger: DaemonLogger) {
    this.#view = view;
    this.#logger = logger;
    this.#metrics = createMetrics(view);
    const count = this.#metrics.countNotification;
    this.#notifications = startNotifications(view, [], { logger, count, statusUrl: () => this.#urlForOthers() });
  }

  /**
   * Does what a configuration says, once `commit` has gone well. If anything cannot be done, all is as it was.
   *
   * @throws BackypError `ERR_CONFIG_INVALID` where it cannot listen, and what `commit` throws
   */
  async take(config: DaemonConfig, commit: () => Promise<void>): Promise<void> {
    const before = this.#config;
    // Certificates are renewed under the same names.
    const hasCertificate = config.http !== false && config.http.tls !== undefined;
    const listensAnew = before === null || hasCertificate || !isDeepStrictEqual(before.http, config.http);
    if (this.#isClosed) throw stopping();
    // Read before anything is given up for it.
    const identity = config.http === false ? null : await readIdentity(config.http.tls);
    try {
      if (listensAnew) await this.#listen(config.http, identity);
      await commit();
    } catch (error) {
      if (listensAnew && before !== null && !this.#isClosed) await this.#listen(before.http, this.#identity);
      throw error;
    }
    this.#identity = identity;
    this.#notifications.retarget(config.notifications);
    this.#config = config;
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    await this.#http?.close();
    await this.#notifications.close();
    this.#metrics.close();
  }

  /** Null where only this host reaches the status page. */
  #urlForOthers(): string | null {
    const url = this.#http?.url ?? null;
    return url === null || /^https?:\/\/(127\.|localhost[:/]|\[::1\])/.test(url) ? null : url;
  }

  /** In place of where it has listened before. */
  async #listen(config: HttpConfig | false, identity: Identity | null): Promise<void> {
    await this.#http?.close();
    this.#http = null;
    if (config === false) return;
    if (this.#isClosed) throw stopping();
    const logger = this.#logger;
    const page = statusPage();
    const metrics = (): ReturnType<Metrics["collect"]> => this.#metrics.collect();
    const http = await startHttp(this.#view, config, { metrics, page: () => page, logger }, identity);
    this.#http = http;
    logger.info({ event: "http.listens", url: http.url }, `the status page is at ${http.url}`);
  }
}

function stopping(): BackypError {
  return new BackypError("ERR_ABORTED", "the daemon is stopping");
}
