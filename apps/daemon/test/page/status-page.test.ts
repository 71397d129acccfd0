import { createHash } from "node:crypto";
import type { Browser, Page } from "playwright-core";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { statusPage } from "../../src/http/status-page.ts";
import { EVERY_KIND, type MadeSeriesOptions } from "../../src/testing/made-view.ts";
import { hasBrowser, type OpenedPage, type OpenOptions, openBrowser, openPage, serve, TOKEN } from "./open-page.ts";
import { accessibilityProblems, focused, overflow, weakTexts } from "./page-checks.ts";

const DAY_MS = 86_400_000;

const HEADLINES: readonly [series: readonly MadeSeriesOptions[], sentence: string, tone: string][] = [
  [[], "No series is configured", "unknown"],
  [[{ name: "zk" }], "zk is good", "ok"],
  [[{ name: "a" }, { name: "b" }, { name: "c" }], "All 3 series are good", "ok"],
  [[{ name: "a" }, { name: "zk", health: "stale" }], "zk: no good backup for 5 d", "bad"],
  [[{ name: "a" }, { name: "zk", health: "failing" }], "zk: the last backup failed", "warn"],
  [
    [{ name: "a", health: "failing" }, { name: "b" }, { name: "c", health: "stale" }],
    "2 of 3 series need attention",
    "bad",
  ],
  [[{ name: "zk", health: "unknown" }], "zk: the store was not looked at yet", "unknown"],
  [
    [{ name: "a" }, { name: "zk", health: "unknown" }],
    "1 of 2 series is not known yet, the others are good",
    "unknown",
  ],
];

describe("the document", () => {
  it("holds all that it needs, and its policy lets a browser use nothing else", () => {
    const { html, headers } = statusPage();
    expect(html).not.toMatch(/ src="|<link rel="stylesheet"|@import|url\((?!#)/);
    expect(html.match(/<\/script/g)).toHaveLength(1);
    const policy = headers["content-security-policy"] ?? "";
    expect(policy).toContain("default-src 'none'");
    expect(policy).not.toMatch(/unsafe|\*|https?:/);
    for (const [tag, directive] of [
      ["style", "style-src"],
      ['script type="module"', "script-src"],
    ] as const) {
      const content = html.split(`<${tag}>`)[1]?.split(`</${tag.split(" ")[0]}>`)[0] ?? "";
      expect(content.length).toBeGreaterThan(1_000);
      const hash = createHash("sha256").update(content).digest("base64");
      expect(policy).toContain(`${directive} 'sha256-${hash}'`);
    }
  });

  it("has no code that reads text as HTML", () => {
    expect(statusPage().html).not.toMatch(
      /innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function/,
    );
  });
});

describe.skipIf(!hasBrowser)("the status page", () => {
  let browser: Browser;
  let opened: OpenedPage | null = null;

  beforeAll(async () => {
    browser = await openBrowser();
  });
  afterAll(async () => {
    await browser?.close();
  });
  afterEach(async () => {
    const offences = opened?.offences ?? [];
    await opened?.close();
    opened = null;
    expect(offences).toEqual([]);
  });

  const open = async (series: readonly MadeSeriesOptions[], options: OpenOptions = {}): Promise<OpenedPage> => {
    opened = await openPage(browser, series, options);
    return opened;
  };
  // Playwright's own waiting needs eval, which the page's policy forbids.
  const until = (expression: string): Promise<void> =>
    expect.poll(() => opened?.page.evaluate(expression), { timeout: 8_000 }).toBe(true);
  const openAll = async (page: Page): Promise<void> => {
    const closed = page.locator(".head[aria-expanded=false]");
    while ((await closed.count()) > 0) await closed.first().click();
  };
  const textOf = async (selector: string): Promise<string> =>
    (await opened?.page.locator(selector).first().allInnerTexts())?.[0]?.replace(/\s+/g, " ") ?? "";
  const eventually = (selector: string, text: string | RegExp): Promise<void> =>
    expect.poll(() => textOf(selector), { timeout: 8_000 }).toMatch(text);

  it("says how all is in one sentence", async () => {
    const { page, view } = await open([]);
    for (const [series, sentence, tone] of HEADLINES) {
      view.reload(series);
      await eventually("h1", new RegExp(`^${sentence}$`));
      expect(await page.title()).toBe(`${sentence} · zk-backyp`);
      expect(await page.locator("#overall").getAttribute("data-tone")).toBe(tone);
      // The shape differs, and not only the colour.
      expect(await page.locator("h1 svg").getAttribute("data-tone")).toBe(tone);
      expect(await page.locator("#icon").getAttribute("href")).toMatch(/^data:image\/svg/);
    }
  });

  it("shows every kind of series, open where something is wrong, without an offence", async () => {
    const { page } = await open(EVERY_KIND);
    await eventually("#connection", "Live");
    expect(await page.locator(".card").count()).toBe(EVERY_KIND.length);
    const openedOnes = await page.locator(".card:has(.body:not([hidden])) .head-name").allInnerTexts();
    expect(openedOnes).toEqual(["failing", "stale", "unreachable"]);
    await eventually("#attention li:first-child", "stale: no good backup for 5 d");
    await openAll(page);
    await until("document.querySelectorAll('.plot svg').length === 11");
    const card = (name: string): string => `.card:has(.head-name:text-is("${name}"))`;
    await eventually(card("failing"), /What to do: Make room in the store, or let retention keep less/);
    await eventually(card("failing"), /Backup fails ERR_SINK_FULL/);
    await eventually(card("stale"), /5 times since/);
    await eventually(card("running"), /Backup running on schedule 12\.0 MB of about 48\.0 MB \(25 %\)/);
    await eventually(card("verifying"), /Verification running/);
    await eventually(card("elected"), /this node is elected/);
    await eventually(card("waiting"), /zk-2 is elected/);
    await eventually(card("unreachable"), /cannot reach ZooKeeper at 127\.0\.0\.1:2181/);
    await eventually(card("cold"), /server down for/);
    await eventually(card("spoilt"), /4 damaged/);
    await eventually(card("elsewhere"), /not on this node it runs on the host zk-3/);
    await eventually(card("new"), /There is no restore point yet/);
  });

  it("tells when the next run is, relative and absolute, local and UTC", async () => {
    const { view } = await open([{ name: "zk" }]);
    const at = "2027-01-05T23:30:00.000Z";
    view.change("zk", { next: { slot: at, at, trigger: "retry" } });
    await eventually(
      ".facts div:first-child",
      /in \d+ d .*6 Jan.*, 00:30 \(Tue,? 5 Jan, 23:30 UTC\) again after a failure/,
    );
    expect(await opened?.page.locator(".facts time").nth(1).getAttribute("title")).toContain(at);
  });

  it("shows what happens while it happens, and keeps the focus", async () => {
    const { page, view } = await open([{ name: "zk", cold: true }]);
    await eventually("#connection", "Live");
    await page.getByRole("button", { name: "Copy the command" }).focus();
    view.startRun("zk", { bytes: 0, totalBytes: 0 });
    await eventually(".current", /Backup running/);
    expect(await page.getByRole("progressbar").getAttribute("value")).toBeNull();
    const current = view.status().series[0]?.current;
    if (!current) throw new Error("nothing runs");
    view.change("zk", { current: { ...current, bytes: 30_000_000, totalBytes: 60_000_000, step: "stopped" } });
    await eventually(".current", /30\.0 MB of about 60\.0 MB \(50 %\) step: stopped/);
    expect(await page.getByRole("progressbar").getAttribute("value")).toBe("50");
    view.endRun("zk", { outcome: "ok", startedAt: new Date().toISOString() });
    await expect.poll(() => page.locator(".current").textContent()).toBe("");
    await eventually(".fold summary", /\(31\)/);
    await until("document.activeElement?.textContent === 'Copy the command'");
  });

  it("shows an error with its remedy as long as it lasts, and then that it is over", async () => {
    const { page, view } = await open([{ name: "zk" }], { mayFail: true });
    await eventually("h1", "zk is good");
    view.failSink("zk", new Error("the bucket is gone"));
    const error = { code: "ERR_SINK_UNAVAILABLE", message: "cannot reach the store", remedy: "Look at `s3`." } as const;
    for (let time = 0; time < 3; time++) view.endRun("zk", { outcome: "failed", error, runId: `failed-${time}` });
    await eventually("h1", "zk: the last backup failed");
    await eventually(".problem", /Backup fails ERR_SINK_UNAVAILABLE cannot reach the store What to do: Look at s3\./);
    await eventually(".problem", /3 times since/);
    await eventually(".note", /restore points cannot be listed.*seen before/);
    view.failSink("zk", null);
    view.endRun("zk", { outcome: "ok", runId: "healed" });
    await eventually("h1", "zk is good");
    await expect.poll(() => page.locator(".body > .problems").textContent()).toBe("");
    await page.getByText("Past errors (1, all over)").click();
    await eventually(".fold .problem", /Backup failed, over ERR_SINK_UNAVAILABLE.*over since/);
    await expect.poll(() => page.locator(".note").isHidden()).toBe(true);
  });

  it("takes over a reload: series that are new, gone, or refused", async () => {
    const { page, view } = await open([{ name: "a" }, { name: "b" }]);
    await eventually("h1", "All 2 series are good");
    view.reload([{ name: "c" }, { name: "b" }]);
    await expect.poll(() => page.locator(".head-name").allInnerTexts()).toEqual(["c", "b"]);
    const { config } = view.status();
    const refused = { at: new Date().toISOString(), message: "series.b.sink: expected an object" };
    view.changeDaemon({ config: { ...config, refused }, state: "stopping" });
    await eventually("#notices", /stopping.*newer configuration was refused.*series\.b\.sink: expected an object/s);
  });

  it("says that the daemon is held, and until when", async () => {
    const { view } = await open([{ name: "zk" }]);
    await eventually("h1", "zk is good");
    view.hold({ abort: false, seconds: 3_600 });
    await eventually("#notices", /The daemon is held: it begins nothing\. It goes on after `zk-backyp release`.*\(/s);
    view.release();
    await eventually("#notices", "");
  });

  it("says when the connection is lost, never calls old news good, and recovers", async () => {
    const { page, view, http } = await open([{ name: "zk" }], { mayFail: true });
    await eventually("#connection", "Live");
    const { port } = new URL(http.url);
    await http.close();
    await eventually("#connection", /Connection lost, trying again · as of/);
    await eventually("h1", "Last known: zk is good");
    expect(await page.locator("#overall").getAttribute("data-tone")).toBe("unknown");
    view.change("zk", { health: "stale", healthText: "old" });
    const again = await serve(view, Number(port));
    try {
      await eventually("#connection", "Live");
      await eventually("h1", /^zk: no good backup for/);
    } finally {
      await page.close();
      await again.close();
    }
  });

  it("asks every 15 seconds where events do not come through, and goes live when they do", async () => {
    const events = "**/api/v1/events";
    const { page, view, requests } = await open([{ name: "zk" }], {
      mayFail: true,
      before: async (tab) => {
        await tab.clock.install();
        await tab.route(events, (route) => route.fulfill({ status: 503, body: "" }));
      },
    });
    await eventually("#connection", "Asking every 15 s");
    const asked = (): number => requests.filter((request) => request === "GET /api/v1/status").length;
    view.change("zk", { health: "stale", healthText: "old" });
    const before = asked();
    await page.clock.fastForward(15_000);
    await eventually("h1", /^zk: no good backup for/);
    expect(asked()).toBeGreaterThan(before);
    await page.unroute(events);
    await page.clock.fastForward(15_000);
    await eventually("#connection", "Live");
  });

  it("gives its connection back while it is hidden, asks now and then, and goes live when it is seen", async () => {
    const { page, view } = await open([{ name: "zk" }], { before: (tab) => tab.clock.install() });
    await eventually("#connection", "Live");
    const hide = (isHidden: boolean): Promise<unknown> =>
      page.evaluate(
        `Object.defineProperty(document, "hidden", { value: ${isHidden}, configurable: true });
         document.dispatchEvent(new Event("visibilitychange"))`,
      );
    await hide(true);
    view.change("zk", { health: "stale", healthText: "old" });
    await page.clock.fastForward(15_000);
    await eventually("#connection", "Asking every 15 s");
    await expect.poll(() => page.title()).toMatch(/^zk: no good backup/);
    await hide(false);
    await eventually("#connection", "Live");
  });

  it("lets a keyboard reach everything, with a focus that is seen", async () => {
    const { page } = await open([{ name: "zk" }]);
    await page.locator(".plot svg").waitFor();
    const seen: string[] = [];
    for (let step = 0; step < 12; step++) {
      await page.keyboard.press("Tab");
      const { what, isSeen } = await focused(page);
      expect(`${what} ${isSeen}`).toBe(`${what} true`);
      seen.push(what);
    }
    expect(seen.slice(0, 9)).toEqual([
      "a Skip to the series",
      expect.stringMatching(/^button zk\s*Good$/),
      "button Back up now: zk",
      "button Verify the newest: zk",
      "input 30 days",
      "slider Restore points of zk",
      "textbox Restore command",
      "button Copy the command",
      "button Verify this one",
    ]);
    expect(seen[9]).toMatch(/^summary List of restore points/);
    expect(seen.slice(10)).toEqual(["a Metrics", "a API"]);
  });

  it("walks the line of time with the arrow keys, and shows the details of where it is", async () => {
    const { page } = await open([{ name: "zk", spoilt: true }]);
    const slider = page.getByRole("slider", { name: "Restore points of zk" });
    await slider.focus();
    const now = async (): Promise<number> => Number(await slider.getAttribute("aria-valuenow"));
    const valueText = async (): Promise<string> => (await slider.getAttribute("aria-valuetext")) ?? "";
    await expect.poll(now).toBeGreaterThan(20);
    const last = await now();
    expect(await valueText()).toMatch(/good, and read back, 48\.0 MB, 30 of 30$/);
    await page.keyboard.press("ArrowLeft");
    expect(await now()).toBe(last - 1);
    await page.keyboard.press("ArrowRight");
    await page.keyboard.press("ArrowRight");
    expect(await now()).toBe(last);
    for (let step = 0; step < 4; step++) await page.keyboard.press("ArrowLeft");
    expect(await valueText()).toContain("damaged");
    await eventually(".details", /damaged.*It was kept although it is damaged/);
    await page.keyboard.press("Home");
    expect(await now()).toBe(1);
    expect(await valueText()).toContain("not readable");
    await eventually(".details", /the manifest .* is not valid/);
    expect(await page.locator(".command").count()).toBe(0);
    await page.keyboard.press("End");
    expect(await now()).toBe(last);
    await page.getByLabel("24 hours").focus();
    await page.keyboard.press("Space");
    await expect.poll(now).toBe(1);
    // A zoom that is not the first one, with the keyboard alone.
    await page.keyboard.press("ArrowRight");
    await expect.poll(() => page.getByLabel("7 days").isChecked()).toBe(true);
    expect(await slider.getAttribute("aria-valuemax")).toBe("7");
  });

  it("draws what is good, read back, damaged, unreadable and pinned as shapes of their own, and gaps", async () => {
    const { page } = await open([{ name: "zk", spoilt: true }]);
    await page.locator(".plot svg").waitFor();
    const legend = await page.locator(".legend li").allInnerTexts();
    expect(legend).toEqual([
      "good when it was taken",
      "good, and read back",
      "damaged",
      "not readable",
      "pinned",
      "gap",
    ]);
    for (const [shape, count] of [
      [".plot rect.damaged", 2],
      [".plot rect.unreadable", 2],
      [".plot path.flag", 2],
      [".plot rect.gap", 3],
    ] as const) {
      expect([shape, await page.locator(shape).count()]).toEqual([shape, count]);
    }
    expect(await page.locator(".plot circle.good").count()).toBeGreaterThan(20);
  });

  it("shows since when a series is stale, and which runs failed", async () => {
    const { page } = await open([{ name: "zk", health: "stale" }]);
    await page.locator(".plot rect.stale").waitFor({ state: "attached" });
    expect(await page.locator(".plot path.failure").count()).toBe(1);
    expect(await page.locator(".plot path.threshold").count()).toBe(1);
    expect(await page.locator(".legend").textContent()).toMatch(/failed run\s*stale/);
  });

  it("selects what is clicked on the line, and in the list", async () => {
    const { page, view } = await open([{ name: "zk" }]);
    await page.locator(".plot svg").waitFor();
    const ids = ((await view.series()[0]?.backups()) ?? []).map(({ id }) => id);
    const box = await page.locator(".plot").boundingBox();
    await page.mouse.click((box?.x ?? 0) + 12, (box?.y ?? 0) + 40);
    await eventually(".details", new RegExp(`${ids.at(-1)}`));
    await page.getByText("List of restore points").click();
    const rows = page.getByRole("row");
    await expect.poll(() => rows.count()).toBe(11);
    expect(await page.getByRole("columnheader").allInnerTexts()).toHaveLength(8);
    await rows.nth(3).getByRole("button").click();
    await eventually(".details", new RegExp(`${ids[2]}`));
    expect(await rows.nth(3).getByRole("button").getAttribute("aria-pressed")).toBe("true");
    await until("document.activeElement?.getAttribute('aria-pressed') === 'true'");
    await page.getByRole("button", { name: "Show more (20 left)" }).click();
    await expect.poll(() => rows.count()).toBe(31);
    expect(await page.getByRole("button", { name: /Show more/ }).count()).toBe(0);
  });

  it("copies the exact restore command", async () => {
    const { page, context, view } = await open([{ name: "zk" }]);
    await context.grantPermissions(["clipboard-read", "clipboard-write"]);
    const [newest] = (await view.series()[0]?.backups()) ?? [];
    await page.getByRole("button", { name: "Copy the command" }).click();
    await eventually(".restore [role=status]", "Copied.");
    expect(await page.evaluate("navigator.clipboard.readText()")).toBe(newest?.restoreCommand);
  });

  it("selects the command where the browser gives it no clipboard", async () => {
    const { page, view } = await open([{ name: "zk" }], {
      before: (tab) =>
        tab.addInitScript(
          "Object.defineProperty(navigator, 'clipboard', { value: undefined }); Document.prototype.execCommand = () => false;",
        ),
    });
    const [newest] = (await view.series()[0]?.backups()) ?? [];
    await page.getByRole("button", { name: "Copy the command" }).click();
    await eventually(".restore [role=status]", /Selected: copy it with Ctrl\+C/);
    expect(await page.evaluate("getSelection().toString()")).toBe(newest?.restoreCommand);
  });

  it("asks for the token, keeps it in this tab only, and forgets it when it is refused", async () => {
    const { page, view, requests } = await open([{ name: "zk" }], { mayFail: true });
    const kept = (): Promise<string | null> => page.evaluate("sessionStorage.getItem('zk-backyp-token')");
    const button = page.getByRole("button", { name: "Back up now: zk" });
    const dialog = page.getByRole("dialog", { name: "Back up zk now?" });
    const field = page.getByLabel(/^Token/);

    await button.click();
    await dialog.waitFor();
    await page.keyboard.press("Escape");
    await dialog.waitFor({ state: "hidden" });
    expect(view.status().series[0]?.current).toBeNull();
    await until("document.activeElement?.textContent === 'Back up now'");

    await button.click();
    await field.fill("wrong-token");
    await page.keyboard.press("Enter");
    await eventually("#ask-problem", "The daemon does not take this token.");
    expect(await kept()).toBeNull();
    expect(await field.inputValue()).toBe("");

    await field.fill(TOKEN);
    await dialog.getByRole("button", { name: "Back up now" }).click();
    await eventually(".message", "Backup has begun.");
    expect(await kept()).toBe(TOKEN);
    // It says so, and can be used all the same, so that the focus does not get lost.
    expect(await button.getAttribute("aria-disabled")).toBe("true");
    await button.click({ force: true });
    await eventually(".message", "A backup is under way: wait until it has ended.");
    view.endRun("zk", { outcome: "ok", message: "backed up and verified" });
    await eventually(".message", "Backup went well: backed up and verified");

    await page.getByRole("button", { name: "Verify this one" }).click();
    await eventually(".message", "Verification has begun.");
    expect(view.status().series[0]?.current).toMatchObject({ kind: "verify", trigger: "request" });
    expect(view.status().series[0]?.current?.backupId).not.toBe("latest");
    view.endRun("zk", { outcome: "damaged", message: "one byte is another one" });
    await eventually(".message", "Verification found damage: one byte is another one");

    expect(await page.evaluate("localStorage.length")).toBe(0);
    expect(page.url()).not.toContain(TOKEN);
    expect(requests.join()).not.toContain("token");
    expect(await page.content()).not.toContain(TOKEN);
  });

  it("warns before each backup that stops the server, also when it has the token", async () => {
    const { page, view } = await open([{ name: "zk", cold: true }], {
      before: (tab) => tab.addInitScript(`sessionStorage.setItem("zk-backyp-token", "${TOKEN}")`),
    });
    await page.getByRole("button", { name: "Back up now: zk" }).click();
    await eventually("#ask-text", /stops the ZooKeeper server/);
    expect(await page.getByLabel(/^Token/).isVisible()).toBe(false);
    expect(view.status().series[0]?.current).toBeNull();
    await page.getByRole("dialog").getByRole("button", { name: "Back up now" }).click();
    await eventually(".message", "Backup has begun.");
  });

  it("says why the daemon does not begin", async () => {
    const { page } = await open([{ name: "zk" }], {
      mayFail: true,
      before: (tab) =>
        tab.route("**/run", (route) =>
          route.fulfill({
            status: 403,
            json: { error: { code: "ERR_TOKEN_NOT_CONFIGURED", message: "set http.token" } },
          }),
        ),
    });
    await page.getByRole("button", { name: "Back up now: zk" }).click();
    await page.getByLabel(/^Token/).fill("any");
    await page.keyboard.press("Enter");
    await eventually(".message", "set http.token (ERR_TOKEN_NOT_CONFIGURED)");
  });

  it("shows hostile names and messages as the text that they are", async () => {
    const evil = `<img src=x onerror="window.pwned=1"><script>window.pwned=1</script>'"\`&amp;</title>`;
    const name = `zk${evil}`;
    const error = { code: "ERR_INTERNAL", message: `${evil}</script>`, remedy: evil } as const;
    const { page, view } = await open([{ name, health: "failing", election: "unreachable" }], { mayFail: true });
    view.endRun(name, { outcome: "failed", error, message: evil });
    view.change(name, {
      healthText: `${evil}. ${evil}`,
      sink: evil,
      prefix: evil,
      schedule: evil,
      runOn: evil,
      mode: evil,
      source: evil,
      notHere: evil,
      election: { state: "waiting", since: new Date().toISOString(), holder: evil, problem: evil },
    });
    view.changeDaemon({ host: evil, version: evil });
    await eventually(".sentence", /<script>/);
    await eventually(".problem", /<img src=x/);
    await eventually(".head-name", /<img src=x/);
    await eventually("#about", /<img src=x/);
    await page.locator(".plot svg").waitFor();
    await page.getByText("List of restore points").click();
    expect(await page.evaluate("window.pwned")).toBeUndefined();
    expect(await page.locator("img").count()).toBe(0);
    expect(await page.locator("script").count()).toBe(1);
    expect(await overflow(page)).toBeLessThanOrEqual(0);
  });

  it("stays usable with 100,000 backups, of which it asks for a thousand", async () => {
    const { page, requests } = await open([{ name: "zk", backups: 100_000 }]);
    await eventually(".note", "The line shows the newest 1,000 of 100,000.");
    expect(requests).toContain("GET /api/v1/series/zk/backups?limit=1000");
    await page.getByLabel("all that are known").check();
    expect(await page.getByRole("slider").getAttribute("aria-valuemax")).toBe("1000");
    expect(Number(await page.evaluate("document.querySelectorAll('*').length"))).toBeLessThan(2_000);
    await page.getByText("List of restore points (100,000)").click();
    const row = page.locator("tbody tr");
    for (const count of [100, 200, 400, 800, 1_600]) {
      await page.getByRole("button", { name: /Show more/ }).click();
      await expect.poll(() => row.count(), { timeout: 8_000 }).toBe(count);
    }
    expect(requests.filter((request) => /limit=1000&before=zk-/.test(request))).toHaveLength(1);
  });

  describe.each(["light", "dark"] as const)("in %s", (colorScheme) => {
    it("has contrast, names for all that can be used, and headings in order", async () => {
      const { page } = await open(
        [
          { name: "zk", health: "stale", cold: true },
          { name: "b", spoilt: true, running: "backup" },
          { name: "new", health: "unknown", election: "waiting" },
        ],
        { browser: { colorScheme } },
      );
      await until("document.querySelectorAll('.details h4').length === 2");
      await page.getByText("List of restore points").nth(1).click();
      await page.getByRole("row").nth(5).waitFor();
      expect(await weakTexts(page)).toEqual([]);
      expect(await accessibilityProblems(page)).toEqual([]);
      const background = await page.evaluate("getComputedStyle(document.body).backgroundColor");
      expect(background).toBe(colorScheme === "dark" ? "rgb(14, 18, 23)" : "rgb(244, 245, 247)");
    });
  });

  it("fits on a phone without scrolling sideways, whatever is in it", async () => {
    const { page, view } = await open(
      [...EVERY_KIND, { name: "a-very-long-name-without-any-place-to-break-it-at-all-in-production", health: "stale" }],
      { browser: { viewport: { width: 360, height: 740 }, hasTouch: true } },
    );
    await eventually("#connection", "Live");
    view.change("failing", { sink: `s3://${"bucket".repeat(40)}`, healthText: "x".repeat(400) });
    await openAll(page);
    await until("document.querySelectorAll('.plot svg').length === 12");
    for (const list of await page.getByText("List of restore points").all()) {
      if (await list.isVisible()) await list.click();
    }
    await expect.poll(() => page.locator("tbody:has(tr)").count()).toBe(12);
    expect(await overflow(page)).toBeLessThanOrEqual(0);
    expect(await accessibilityProblems(page)).toEqual([]);
  });

  it("moves nothing for who wants no motion", async () => {
    const { page } = await open([{ name: "zk" }], { browser: { reducedMotion: "reduce" } });
    const moving = `[...document.querySelectorAll("*")].filter((element) =>
      ["", "::before", "::after"].some((part) => {
        const { transitionDuration, animationName } = getComputedStyle(element, part);
        return transitionDuration !== "0s" || animationName !== "none";
      })).length`;
    expect(await page.evaluate(moving)).toBe(0);
  });

  it("knows what time it is for the daemon, where the browser's clock is wrong", async () => {
    const { page } = await open([{ name: "zk" }], {
      before: (tab) => tab.clock.install({ time: new Date(Date.now() - 3 * DAY_MS) }),
    });
    await eventually(".head-facts", /last good 12 h ago/);
    await page.locator(".plot circle.good").first().waitFor({ state: "attached" });
  });
});
