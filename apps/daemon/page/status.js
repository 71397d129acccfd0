// @ts-check
import { connect } from "./connection.js";
import { absoluteTime, byId, h, refill, refreshTimes, relativeTime, setText, toneIcon, toneIconUrl } from "./dom.js";
import { formatAge, nowMs } from "./format.js";
import { createSeriesCard } from "./series-card.js";
import { healths } from "./words.js";

/** @import { DaemonStatus, SeriesStatus } from "../src/daemon/daemon-view.ts" */
/** @import { ConnectionState } from "./connection.js" */
/** @import { Tone } from "./dom.js" */

const TICK_MS = 5_000;
const REDRAW_MS = 60_000;
/** More than this are shown closed, if they are good. */
const MOST_OPEN = 3;

/** @type {DaemonStatus | null} */
let daemon = null;
/** @type {ConnectionState} */
let connection = { kind: "connecting" };
/** @type {Map<string, ReturnType<typeof createSeriesCard>>} */
const cards = new Map();
let made = 0;

/**
 * What is wrong with a series, for after its name.
 *
 * @param {SeriesStatus} series
 */
function shortProblem({ health, healthText, lastGood }) {
  if (health === "stale") {
    return lastGood === null
      ? "no good backup"
      : `no good backup for ${formatAge(nowMs() - Date.parse(lastGood.startedAt))}`;
  }
  const [first = ""] = healthText.split(/[.:]/, 1);
  return first.charAt(0).toLowerCase() + first.slice(1);
}

/**
 * How all is, in a sentence.
 *
 * @param {readonly SeriesStatus[]} series
 * @returns {{ tone: Tone, text: string }}
 */
function overall(series) {
  if (series.length === 0) return { tone: "unknown", text: "No series is configured" };
  const bad = series.filter(({ health }) => health === "stale" || health === "failing");
  const tone = bad.some(({ health }) => health === "stale") ? "bad" : "warn";
  const [first] = bad;
  if (first !== undefined && bad.length === 1) return { tone, text: `${first.name}: ${shortProblem(first)}` };
  if (bad.length > 1) return { tone, text: `${bad.length} of ${series.length} series need attention` };
  if (series.length === 1 && series[0]?.health === "unknown") {
    return { tone: "unknown", text: `${series[0].name}: ${shortProblem(series[0])}` };
  }
  const unknown = series.filter(({ health }) => health === "unknown").length;
  const good = series.length - unknown;
  if (unknown === 0)
    return { tone: "ok", text: good === 1 ? `${series[0]?.name} is good` : `All ${good} series are good` };
  const is = unknown === 1 ? "is" : "are";
  return {
    tone: "unknown",
    text: `${unknown} of ${series.length} series ${is} not known yet${good > 0 ? ", the others are good" : ""}`,
  };
}

function showTop() {
  if (daemon === null) return;
  const { tone, text } = overall(daemon.series);
  const isLost = connection.kind === "lost";
  const shownTone = isLost && tone === "ok" ? "unknown" : tone;
  const headline = isLost ? `Last known: ${text}` : text;
  byId("overall").dataset.tone = shownTone;
  refill(byId("headline"), [shownTone, headline], () => [toneIcon(shownTone), h("span", {}, headline)]);
  setText(byId("announcer"), headline);
  document.title = `${headline} · zk-backyp`;
  const icon = byId("icon");
  const address = toneIconUrl(shownTone);
  if (icon.getAttribute("href") !== address) icon.setAttribute("href", address);
  const bad = daemon.series.filter(({ health }) => health === "stale" || health === "failing");
  bad.sort((a, b) => Number(b.health === "stale") - Number(a.health === "stale"));
  refill(
    byId("attention"),
    bad.length > 1 ? bad.map(({ name, health, healthText }) => [name, health, healthText]) : [],
    () => (bad.length > 1 ? bad.map(attentionOf) : []),
  );
}

/** @param {SeriesStatus} series */
function attentionOf(series) {
  const { name, health } = series;
  const jump = h(
    "button",
    { type: "button", class: "link", "data-focus": name, click: () => cards.get(name)?.reveal() },
    name,
  );
  return h("li", {}, toneIcon(healths[health].tone), " ", jump, `: ${shortProblem(series)}`);
}

/** @param {DaemonStatus} status */
function showDaemon(status) {
  const { host, version, startedAt, state, hold, config } = status;
  setText(byId("host"), `on ${host}`);
  refill(byId("about"), [host, version, startedAt, config], () => [
    `zk-backyp ${version} on ${host}, up since `,
    absoluteTime(startedAt),
    ". Configuration ",
    h("code", {}, config.path),
    ", read ",
    absoluteTime(config.loadedAt),
    ".",
  ]);
  refill(byId("notices"), [state, hold, config.refused], () => [
    hold !== null &&
      state !== "stopping" &&
      notice(
        `The daemon is held: it begins nothing${state === "holding" ? ", and ends what is under way" : ""}. `,
        "It goes on after `zk-backyp release`, or by itself",
        hold.until,
      ),
    state === "stopping" && notice("The daemon is stopping: it ends what is under way, and begins nothing."),
    config.refused !== null &&
      notice("A newer configuration was refused, and the old one stays: ", config.refused.message, config.refused.at),
  ]);
}

/**
 * @param {string} text
 * @param {string} [message]
 * @param {string} [at]
 */
function notice(text, message = "", at = "") {
  return h(
    "p",
    { class: "notice", role: "alert" },
    toneIcon("warn"),
    h("span", {}, h("strong", {}, text), message, at !== "" && " (", at !== "" && relativeTime(at), at !== "" && ")"),
  );
}

/** @param {readonly SeriesStatus[]} all */
function showCards(all) {
  const main = byId("series");
  const names = new Set(all.map(({ name }) => name));
  for (const [name, card] of cards) {
    if (names.has(name)) continue;
    card.element.remove();
    cards.delete(name);
  }
  for (const [index, series] of all.entries()) {
    let card = cards.get(series.name);
    if (card === undefined) {
      const isBad = series.health === "stale" || series.health === "failing";
      card = createSeriesCard(series.name, String(made++), all.length <= MOST_OPEN || isBad);
      cards.set(series.name, card);
    }
    if (main.children[index] !== card.element) main.insertBefore(card.element, main.children[index] ?? null);
    card.update(series);
  }
  refill(byId("series-none"), all.length, () =>
    all.length === 0
      ? ["No series is configured: name one under ", h("code", {}, "series"), " in the configuration file."]
      : [],
  );
}

function showConnection() {
  /** @type {Record<ConnectionState["kind"], { tone: Tone, text: string }>} */
  const states = {
    connecting: { tone: "unknown", text: "Connecting" },
    live: { tone: "ok", text: "Live" },
    polling: { tone: "unknown", text: "Asking every 15 s" },
    lost: { tone: "warn", text: "Connection lost, trying again" },
  };
  const { tone, text } = states[connection.kind];
  const since = connection.kind === "lost" ? connection.sinceMs : null;
  document.body.dataset.connection = connection.kind;
  refill(byId("connection"), [text, since], () => [
    toneIcon(tone),
    h("span", {}, text, since !== null && " · as of ", since !== null && relativeTime(new Date(since).toISOString())),
  ]);
  if (daemon === null && connection.kind === "lost") setText(byId("headline"), "The daemon does not answer");
}

setText(byId("zone"), ` (${Intl.DateTimeFormat().resolvedOptions().timeZone})`);
byId("series").after(h("p", { id: "series-none", class: "none" }));
setInterval(() => {
  if (document.hidden) return;
  refreshTimes();
  showTop();
}, TICK_MS);
setInterval(() => {
  for (const card of cards.values()) card.tick();
}, REDRAW_MS);
showConnection();
connect({
  onDaemon(status) {
    daemon = status;
    refreshTimes();
    showDaemon(status);
    showCards(status.series);
    showTop();
  },
  onSeries(status) {
    if (daemon === null) return;
    daemon = { ...daemon, series: daemon.series.map((one) => (one.name === status.name ? status : one)) };
    cards.get(status.name)?.update(status);
    showTop();
  },
  onRun(series, run) {
    cards.get(series)?.ended(run);
  },
  onState(state) {
    connection = state;
    showConnection();
    showTop();
  },
});
