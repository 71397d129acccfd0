import { chromiumMissing, findChromium, requirePart } from "@zk-backyp/testbed";
import { type Browser, type BrowserContext, type BrowserContextOptions, chromium, type Page } from "playwright-core";
import { type HttpServer, startHttp } from "../../src/http/start-http.ts";
import { statusPage } from "../../src/http/status-page.ts";
import { type MadeSeriesOptions, type MadeView, madeView } from "../../src/testing/made-view.ts";

/** Whether a page can be opened here. */
export const hasBrowser: boolean = requirePart(chromiumMissing());

/** What whoever changes something has to show. */
export const TOKEN = "the-token-that-is-right";

/** The status page of a daemon that is made up, open in a browser. */
export interface OpenedPage {
  readonly page: Page;
  readonly context: BrowserContext;
  readonly view: MadeView;
  readonly http: HttpServer;
  /** What a page must not do: errors on its console, requests to others, dialogs. */
  readonly offences: readonly string[];
  /** Paths that were asked for, in order. */
  readonly requests: readonly string[];
  close(): Promise<void>;
}

/** How to open it. */
export interface OpenOptions {
  readonly browser?: BrowserContextOptions;
  /** Run before the page is loaded. */
  readonly before?: (page: Page) => Promise<unknown>;
  /** Answers that are errors belong to the test: a browser always writes them to the console. */
  readonly mayFail?: boolean;
}

/** Opens a browser that has no tabs yet. */
export function openBrowser(): Promise<Browser> {
  // Chromium's own sandbox refuses to run as root.
  const isRoot = process.getuid?.() === 0;
  return chromium.launch({ executablePath: findChromium() ?? "", args: isRoot ? ["--no-sandbox"] : [] });
}

/** Serves a made view on `port` of loopback. */
export function serve(view: MadeView, port = 0): Promise<HttpServer> {
  return startHttp(
    view,
    { host: "127.0.0.1", port, token: TOKEN },
    {
      metrics: async () => ({ contentType: "text/plain", body: "" }),
      page: statusPage,
      logger: { debug: () => undefined, info: () => undefined, warn: () => undefined },
    },
  );
}

/** Serves these series and opens their page; resolves when it is live. Its time zone is Berlin's. */
export async function openPage(
  browser: Browser,
  series: readonly MadeSeriesOptions[],
  { browser: options = {}, before, mayFail = false }: OpenOptions = {},
): Promise<OpenedPage> {
  const view = madeView(series, new Date());
  const http = await serve(view);
  const { page, context, offences, requests } = await openTab(browser, http.url, options, mayFail);
  await before?.(page);
  await page.goto(http.url);
  await page.locator("#series-none, .card").first().waitFor({ state: "attached" });
  return {
    page,
    context,
    view,
    http,
    offences,
    requests,
    async close() {
      await context.close();
      await http.close();
    },
  };
}

/** A tab that watches what is not allowed on a page from `url`. */
export async function openTab(
  browser: Browser,
  url: string,
  options: BrowserContextOptions,
  mayFail: boolean,
): Promise<Pick<OpenedPage, "page" | "context" | "offences" | "requests">> {
  const context = await browser.newContext({
    viewport: { width: 1280, height: 900 },
    timezoneId: "Europe/Berlin",
    ...options,
  });
  context.setDefaultTimeout(8_000);
  const page = await context.newPage();
  const offences: string[] = [];
  const requests: string[] = [];
  page.on("console", (message) => {
    const text = message.text();
    if (mayFail && text.startsWith("Failed to load resource")) return;
    if (message.type() === "error" || message.type() === "warning") offences.push(text);
  });
  page.on("pageerror", (error) => offences.push(String(error)));
  page.on("dialog", (dialog) => {
    offences.push(`dialog: ${dialog.message()}`);
    void dialog.dismiss();
  });
  page.on("request", (request) => {
    const asked = new URL(request.url());
    if (asked.protocol === "data:") return;
    requests.push(`${request.method()} ${asked.pathname}${asked.search}`);
    if (asked.origin !== new URL(url).origin) offences.push(`asked another origin: ${request.url()}`);
  });
  return { page, context, offences, requests };
}
