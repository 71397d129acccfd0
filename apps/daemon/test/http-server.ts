import { startHttp } from "../src/http/start-http.ts";
import { type MadeView, madeView } from "../src/testing/made-view.ts";

// The HTTP interface of a made daemon in a process of its own, which the abuse test forks: what it takes can be measured
// apart from what the clients take, and whether it has died can be seen.

/** What the test asks for. */
export type Order =
  | { readonly kind: "figures" }
  | { readonly kind: "end-runs"; readonly count: number; readonly messageLength: number }
  | { readonly kind: "close" };

/** What it is told. Log lines come as they are written. */
export type Told =
  | { readonly kind: "listening"; readonly url: string }
  | { readonly kind: "log"; readonly line: string }
  | { readonly kind: "done" }
  | ({ readonly kind: "figures" } & Figures);

export interface Figures {
  readonly heapMB: number;
  readonly rssMB: number;
  readonly sockets: number;
  readonly timers: number;
  readonly listeners: number;
}

const tell = (told: Told): void => {
  process.send?.(told);
};
const log =
  (level: string) =>
  (fields: object, message: string): void =>
    tell({ kind: "log", line: JSON.stringify({ level, ...fields, message }) });

const view: MadeView = madeView([
  { name: "good", backups: 3_000 },
  { name: "running", running: "backup" },
]);
const server = await startHttp(
  view,
  { host: "127.0.0.1", port: 0, token: process.argv[2] },
  {
    metrics: async () => ({ contentType: "text/plain; version=0.0.4; charset=utf-8", body: "zk_backyp_up 1\n" }),
    page: () => ({ html: "<!doctype html><p>page", headers: {} }),
    logger: { debug: log("debug"), info: log("info"), warn: log("warn") },
  },
);

function figures(): Figures {
  global.gc?.();
  const resources = process.getActiveResourcesInfo();
  return {
    heapMB: process.memoryUsage().heapUsed / 1024 / 1024,
    rssMB: process.memoryUsage().rss / 1024 / 1024,
    sockets: resources.filter((name) => name === "TCPSocketWrap").length,
    timers: resources.filter((name) => name === "Timeout").length,
    listeners: view.events.eventNames().reduce((sum, name) => sum + view.events.listenerCount(name), 0),
  };
}

process.on("disconnect", () => process.exit());
process.on("message", async (order: Order) => {
  if (order.kind === "figures") return tell({ kind: "figures", ...figures() });
  if (order.kind === "end-runs") {
    for (let count = 0; count < order.count; count++) {
      view.endRun("good", { kind: "prune", message: "x".repeat(order.messageLength) });
      // As in a daemon, others are served in between.
      await new Promise((resolve) => setImmediate(resolve));
    }
    return tell({ kind: "done" });
  }
  await server.close();
  tell({ kind: "figures", ...figures() });
});
tell({ kind: "listening", url: server.url });
