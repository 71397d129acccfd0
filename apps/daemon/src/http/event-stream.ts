import type { ServerResponse } from "node:http";
import type { DaemonView, RunRecord } from "../daemon/daemon-view.ts";
import { withoutSecrets } from "../secrets.ts";
import { ANSWER_HEADERS } from "./answer-headers.ts";
import { HttpError } from "./http-error.ts";

/** Half of the connections, so that others can still ask. */
const MAX_STREAMS = 1_000;
/** A reader that has not taken this much does not read any more. */
const MAX_UNREAD_BYTES = 1024 * 1024;
/** What changes more often is told this often, as it is then. */
const THROTTLE_MS = 250;
/** Below what proxies wait for before they give up on a silent connection. */
const HEARTBEAT_MS = 15_000;
const RETRY_MS = 3_000;

/** The daemon's events as server-sent events, for many readers at once. */
export interface EventStreams {
  /** How many readers there are. */
  readonly count: number;
  /**
   * Sends the whole status as the answer, and then what happens until either side ends it.
   *
   * @throws HttpError `ERR_TOO_MANY_STREAMS`
   */
  open(response: ServerResponse): void;
  /** Ends all of them, and listens no more. */
  close(): void;
}

/** Listens to the view once, whatever the number of readers: what they are sent is made once too. */
export function createEventStreams(view: DaemonView): EventStreams {
  const streams = new Set<ServerResponse>();
  const changed = new Set<string | null>();
  let throttle: NodeJS.Timeout | null = null;
  let isClosed = false;

  const send = (text: string): void => {
    const bytes = Buffer.from(text);
    for (const stream of streams) {
      if (stream.writableLength > MAX_UNREAD_BYTES) stream.destroy();
      else stream.write(bytes);
    }
  };

  const sendChanged = (): void => {
    throttle = null;
    if (changed.size === 0) return;
    const texts = changed.has(null)
      ? [event("status", view.status())]
      : view.series().flatMap((one) => (changed.has(one.name) ? [event("status", one.status())] : []));
    changed.clear();
    send(texts.join(""));
    throttle = setTimeout(sendChanged, THROTTLE_MS);
  };

  const onChanged = (series: string | null): void => {
    if (streams.size === 0) return;
    changed.add(series);
    // Later, so that what happens in one go is one event.
    throttle ??= setTimeout(sendChanged, 0);
  };

  const onRunEnd = (series: string, run: RunRecord): void => {
    if (streams.size > 0) send(event("run", { series, run }));
  };

  view.events.on("changed", onChanged);
  view.events.on("run:end", onRunEnd);
  const heartbeat = setInterval(() => send(": still here\n\n"), HEARTBEAT_MS);

  return {
    get count() {
      return streams.size;
    },
    open(response) {
      if (isClosed || streams.size >= MAX_STREAMS) {
        throw new HttpError(
          "ERR_TOO_MANY_STREAMS",
          isClosed
            ? "the daemon is stopping"
            : `${MAX_STREAMS} readers of events are connected already: try again later`,
        );
      }
      streams.add(response);
      response.on("close", () => streams.delete(response));
      // A reader that goes away while it is written to.
      response.on("error", () => response.destroy());
      response.writeHead(200, {
        ...ANSWER_HEADERS,
        "content-type": "text/event-stream; charset=utf-8",
        // Proxies that collect answers would keep events back.
        "x-accel-buffering": "no",
      });
      response.write(`retry: ${RETRY_MS}\n\n${event("status", view.status())}`);
    },
    close() {
      isClosed = true;
      view.events.off("changed", onChanged);
      view.events.off("run:end", onRunEnd);
      clearInterval(heartbeat);
      if (throttle !== null) clearTimeout(throttle);
      for (const stream of streams) stream.end();
    },
  };
}

/** JSON has no newline outside of strings and escapes those in them, so that one line holds it. */
function event(name: string, data: object): string {
  return `event: ${name}\ndata: ${withoutSecrets(JSON.stringify(data))}\n\n`;
}
