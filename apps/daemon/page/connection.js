// @ts-check
import { nowMs, setClockDifference } from "./format.js";

/** @import { DaemonStatus, RunRecord, SeriesStatus } from "../src/daemon/daemon-view.ts" */

const POLL_MS = 15_000;
const FIRST_RETRY_MS = 1_000;
/** How often the whole status is asked for although events come: a connection can be dead without anybody saying so. */
const CHECK_MS = 60_000;
const ASK_TIMEOUT_MS = 35_000;

/** An answer that is an error, or none at all (`status` 0). */
export class AskError extends Error {
  /**
   * @param {number} status
   * @param {string} code
   * @param {string} message
   */
  constructor(status, code, message) {
    super(message);
    this.status = status;
    this.code = code;
  }
}

/**
 * Asks the daemon.
 *
 * @template T
 * @param {string} path below `api/v1/`
 * @param {RequestInit} [request]
 * @returns {Promise<T>}
 * @throws AskError
 */
export async function ask(path, request = {}) {
  /** @type {Response} */
  let response;
  /** @type {any} */
  let body;
  try {
    response = await fetch(`api/v1/${path}`, {
      cache: "no-store",
      credentials: "same-origin",
      signal: AbortSignal.timeout(ASK_TIMEOUT_MS),
      ...request,
    });
    const date = Date.parse(response.headers.get("date") ?? "");
    if (!Number.isNaN(date)) setClockDifference(date - Date.now());
    body = await response.json();
  } catch {
    throw new AskError(0, "", "The daemon does not answer. Look whether it runs.");
  }
  if (response.ok) return body;
  const { code = `HTTP ${response.status}`, message = response.statusText } = body?.error ?? {};
  throw new AskError(response.status, String(code), String(message));
}

/**
 * `live`: events come. `polling`: the daemon answers, but sends no events. `lost`: it does not answer since then.
 *
 * @typedef {{ kind: "connecting" | "live" | "polling" } | { kind: "lost", sinceMs: number }} ConnectionState
 */

/**
 * @typedef {object} Listeners
 * @property {(status: DaemonStatus) => void} onDaemon
 * @property {(status: SeriesStatus) => void} onSeries
 * @property {(series: string, run: RunRecord) => void} onRun
 * @property {(state: ConnectionState) => void} onState
 */

/**
 * Follows the daemon for as long as the page is open: by events, else by asking every 15 seconds, and both are tried
 * until they work.
 *
 * @param {Listeners} listeners
 */
export function connect({ onDaemon, onSeries, onRun, onState }) {
  /** @type {EventSource | null} */
  let source = null;
  /** @type {ConnectionState} */
  let state = { kind: "connecting" };
  let heardAtMs = nowMs();
  let retryMs = FIRST_RETRY_MS;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  let retry;

  /** @param {ConnectionState} next */
  const change = (next) => {
    if (next.kind === state.kind) return;
    state = next;
    onState(next);
  };
  const heard = () => {
    heardAtMs = nowMs();
  };

  const poll = async () => {
    try {
      const status = /** @type {DaemonStatus} */ (await ask("status"));
      heard();
      onDaemon(status);
      if (source?.readyState !== EventSource.OPEN) change({ kind: "polling" });
    } catch {
      change({ kind: "lost", sinceMs: heardAtMs });
      // What looks open is not, if nobody answers beside it.
      reopen();
    }
  };

  const reopen = () => {
    source?.close();
    source = null;
    clearTimeout(retry);
    retry = setTimeout(open, retryMs);
    retryMs = Math.min(retryMs * 2, POLL_MS);
  };

  const open = () => {
    clearTimeout(retry);
    source?.close();
    // A hidden page gives its connection back: a browser has six for one origin, and more tabs than that may be open.
    if (document.hidden) return;
    const opened = new EventSource("api/v1/events");
    source = opened;
    opened.addEventListener("status", ({ data }) => {
      heard();
      retryMs = FIRST_RETRY_MS;
      const status = /** @type {DaemonStatus | SeriesStatus} */ (JSON.parse(data));
      if ("series" in status) onDaemon(status);
      else onSeries(status);
      change({ kind: "live" });
    });
    opened.addEventListener("run", ({ data }) => {
      heard();
      const { series, run } = /** @type {{ series: string, run: RunRecord }} */ (JSON.parse(data));
      onRun(series, run);
    });
    opened.addEventListener("error", () => {
      if (source !== opened) return;
      reopen();
      void poll();
    });
  };

  document.addEventListener("visibilitychange", () => {
    if (document.hidden) {
      source?.close();
      source = null;
    } else {
      open();
    }
  });
  window.addEventListener("online", open);
  setInterval(() => {
    const isOpen = source?.readyState === EventSource.OPEN;
    if (!isOpen || nowMs() - heardAtMs > CHECK_MS) void poll();
  }, POLL_MS);
  // First, since only its answer says what time it is for the daemon.
  void ask("status")
    .then((status) => onDaemon(/** @type {DaemonStatus} */ (status)))
    .catch(() => change({ kind: "lost", sinceMs: heardAtMs }))
    .finally(open);
}
