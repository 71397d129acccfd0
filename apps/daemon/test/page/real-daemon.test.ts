import { mkdir, mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { unpackFixture } from "@zk-backyp/testbed";
import type { Browser } from "playwright-core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type RunningDaemon, startDaemonProcess } from "../running-daemon.ts";
import { hasBrowser, openBrowser, openTab, TOKEN } from "./open-page.ts";

describe.skipIf(!hasBrowser)("the status page of a real daemon", () => {
  let folder: string;
  let browser: Browser;
  let daemon: RunningDaemon | undefined;

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), "zk-backyp-page-"));
    browser = await openBrowser();
  });
  afterAll(async () => {
    await browser?.close();
    await daemon?.stop();
    await rm(folder, { recursive: true, force: true });
  });

  it("shows a store that fails, with what to do, and that all is well once it is healed", async () => {
    const { dataDir, dataLogDir } = await unpackFixture("zookeeper-3.8.0", join(folder, "source"));
    const store = join(folder, "store");
    // Nobody can make a directory below a file, root neither.
    await writeFile(store, "");
    const config = join(folder, "zk-backyp.config.json");
    const series = {
      source: { use: "zookeeper", dataDir, dataLogDir },
      sink: { use: "fs", path: join(store, "backups") },
      schedule: { interval: 3600 },
    };
    await writeFile(config, JSON.stringify({ http: { port: 0, token: TOKEN }, series: { "zk-prod": series } }));
    daemon = startDaemonProcess(config);
    const url = await daemon.url();

    const { page, offences } = await openTab(browser, url, {}, true);
    const text = async (selector: string): Promise<string> =>
      ((await page.locator(selector).allInnerTexts())[0] ?? "").replace(/\s+/g, " ");
    const eventually = (selector: string, expected: RegExp): Promise<void> =>
      expect.poll(() => text(selector), { timeout: 20_000 }).toMatch(expected);

    await page.goto(url);
    await eventually("h1", /^zk-prod: the last backup failed/);
    await eventually(".problem", /Backup fails ERR_SINK_\w+ .*backups.* What to do: /);
    await eventually(".facts", /Next run in .*again after a failure/);

    await rm(store);
    await mkdir(join(store, "backups"), { recursive: true });
    await page.getByRole("button", { name: "Back up now: zk-prod" }).click();
    await page.getByLabel(/^Token/).fill(TOKEN);
    await page.keyboard.press("Enter");
    await eventually("h1", /^zk-prod is good$/);
    await eventually(".message", /^ ?Backup went well/);
    await eventually(".fold:last-child summary", /^Past errors \(1, all over\)$/);
    const stored = (await readdir(join(store, "backups"), { recursive: true })).join();
    const command = await text(".command");
    const [, id = "none"] = /restore (\S+)/.exec(command) ?? [];
    expect(stored).toContain(id);

    await page.getByRole("button", { name: "Verify this one" }).click();
    await eventually(".message", /^ ?Verification went well/);
    await eventually(".details-title", /good, and read back/);
    expect(offences).toEqual([]);
    await page.context().close();
  });
});
