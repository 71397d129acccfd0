// @ts-check
import { AskError, ask } from "./connection.js";
import { h, refill, relativeTime, setText, toneIcon } from "./dom.js";
import { detailsOf } from "./point-details.js";
import { createPointTable } from "./point-table.js";
import { problemsOf } from "./problems.js";
import { currentOf, factsKey, factsOf, problemOf } from "./series-facts.js";
import { createTimeline, toPoint } from "./timeline.js";
import { request } from "./token-dialog.js";
import { healths, kindWords, outcomes } from "./words.js";

/** @import { BackupSummary, RunRecord, SeriesStatus } from "../src/daemon/daemon-view.ts" */
/** @import { Tone } from "./dom.js" */
/** @import { Point } from "./timeline.js" */

/** As many as one answer holds, and as a line of time can show. */
const MOST_POINTS = 1_000;
const FIRST_ROWS = 10;
const MORE_ROWS = 100;
const MOST_PAST_PROBLEMS = 10;

/**
 * Everything about one series.
 *
 * @param {string} name
 * @param {string} key unique in the page
 * @param {boolean} isOpen
 */
export function createSeriesCard(name, key, isOpen) {
  /** @type {SeriesStatus | null} */
  let status = null;
  /** @type {BackupSummary[]} newest first */
  let backups = [];
  /** @type {Point[]} those of them that are drawn, oldest first */
  let drawn = [];
  /** @type {number | null} */
  let total = null;
  /** @type {RunRecord[]} */
  let runs = [];
  /** @type {string | null} what the sink said instead of a list */
  let listProblem = null;
  /** @type {string | null} null: the newest good one */
  let picked = null;
  let rows = FIRST_ROWS;
  let isLoading = false;
  let isLoadWanted = false;
  let isLoaded = false;
  /** @type {string | null} the run that was asked for here */
  let requested = null;

  const headIcon = h("span", { class: "head-icon" });
  const headWord = h("span", { class: "head-word" });
  const headFacts = h("span", { class: "head-facts" });
  const bodyId = `body-${key}`;
  const toggle = h(
    "button",
    {
      type: "button",
      class: "head",
      "aria-expanded": String(isOpen),
      "aria-controls": bodyId,
      click: () => open(!isOpen),
    },
    headIcon,
    h("span", { class: "head-name", id: `name-${key}` }, name),
    headWord,
  );
  const sentence = h("p", { class: "sentence" });
  const current = h("div", { class: "current" });
  const now = h("div", { class: "problems" });
  const facts = h("dl", { class: "facts" });
  const message = h("p", { class: "message", role: "status" });
  const listNote = h("p", { class: "note" });
  const timeline = createTimeline(key, name, (id) => pick(id));
  const details = h("div", { class: "details", role: "group", "aria-label": "Selected restore point" });
  const list = createPointTable(
    name,
    (id) => pick(id),
    () => void more(),
  );
  const tableCount = h("span", { class: "muted" });
  const past = h("div", { class: "problems" });
  const pastSummary = h("summary");
  const pastBox = h("details", { class: "fold" }, pastSummary, past);
  const points = h("div", { class: "points" }, h("h3", {}, "Restore points"), listNote, timeline.element, details);
  const table = h(
    "details",
    { class: "fold", toggle: () => showTable() },
    h("summary", {}, "List of restore points ", tableCount),
    list.element,
  );

  /**
   * @param {string} label
   * @param {() => void} run
   */
  const action = (label, run) =>
    h("button", { type: "button", click: run, "data-focus": label, "aria-label": `${label}: ${name}` }, label);
  const backUp = action("Back up now", () => {
    void act(
      "run",
      {},
      {
        title: `Back up ${name} now?`,
        text:
          status?.mode === "cold"
            ? "This stops the ZooKeeper server on the daemon’s host for the time of the backup, and starts it again."
            : "A backup begins at once, beside the schedule.",
        go: "Back up now",
      },
    );
  });
  const verify = action("Verify the newest", () => verifyOne("latest"));
  const buttons = h("div", { class: "buttons" }, backUp, verify);
  const body = h(
    "div",
    { class: "body", id: bodyId },
    h("div", { class: "lead" }, sentence, buttons),
    message,
    current,
    now,
    facts,
    points,
    table,
    pastBox,
  );
  const element = h(
    "section",
    { class: "card", id: `series-${key}`, "aria-labelledby": `name-${key}` },
    h("div", { class: "head-row" }, h("h2", {}, toggle), headFacts),
    body,
  );
  body.hidden = !isOpen;

  /** @param {boolean} next */
  const open = (next) => {
    isOpen = next;
    body.hidden = !next;
    toggle.setAttribute("aria-expanded", String(next));
    if (next && !isLoaded) void load();
  };

  /** Asks for what the status does not hold. Asked for again while it is under way, it is done once more after it. */
  const load = async () => {
    isLoadWanted = true;
    if (isLoading || !isOpen) return;
    isLoading = true;
    const path = `series/${encodeURIComponent(name)}`;
    while (isLoadWanted) {
      isLoadWanted = false;
      const [page, history] = await Promise.allSettled([
        /** @type {Promise<{ items: BackupSummary[], total: number }>} */ (ask(`${path}/backups?limit=${MOST_POINTS}`)),
        /** @type {Promise<{ items: RunRecord[] }>} */ (ask(`${path}/runs`)),
      ]);
      if (history.status === "fulfilled") runs = history.value.items;
      if (page.status === "fulfilled") {
        backups = withOlder(page.value.items, backups);
        drawn = page.value.items.map(toPoint).reverse();
        total = page.value.total;
        listProblem = null;
        isLoaded = true;
      } else {
        listProblem = textOf(page.reason);
      }
    }
    isLoading = false;
    show();
  };

  const more = async () => {
    rows = Math.max(2 * rows, MORE_ROWS);
    const last = backups.at(-1);
    if (rows > backups.length && last !== undefined && backups.length < (total ?? 0)) {
      try {
        const path = `series/${encodeURIComponent(name)}/backups?limit=${MOST_POINTS}&before=${encodeURIComponent(last.id)}`;
        const { items } = /** @type {{ items: BackupSummary[] }} */ (await ask(path));
        backups = [...backups, ...items];
      } catch (error) {
        listProblem = textOf(error);
      }
    }
    show();
  };

  /**
   * @param {string} path
   * @param {object} body
   * @param {import("./token-dialog.js").Question} question
   */
  const act = async (path, body, question) => {
    if (status?.current) {
      say("warn", `A ${status.current.kind} is under way: wait until it has ended.`);
      return;
    }
    try {
      const isGrave = path === "run" && status?.mode === "cold";
      const run = await request(`series/${encodeURIComponent(name)}/${path}`, body, question, isGrave);
      if (run === null) return;
      requested = run.runId;
      say("busy", `${kindWords[run.kind]} has begun.`);
    } catch (error) {
      say("warn", textOf(error));
    }
  };

  /** @param {string} id */
  const verifyOne = (id) => {
    const what = id === "latest" ? "the newest backup" : id;
    void act(
      "verify",
      { id },
      { title: `Verify ${what}?`, text: "It is read back from the store and checked whole.", go: "Verify" },
    );
  };

  /**
   * @param {Tone} tone
   * @param {string} text
   */
  const say = (tone, text) => {
    refill(message, [tone, text], () => [toneIcon(tone), text]);
  };

  /**
   * Says how the run ended that was asked for here.
   *
   * @param {RunRecord} run
   */
  const settle = ({ runId, kind, outcome, message: text }) => {
    if (runId !== requested) return;
    requested = null;
    const { tone, word } = outcomes[outcome];
    say(tone, `${kindWords[kind]} ${word}: ${text}`);
  };

  /** @param {string} id */
  const pick = (id) => {
    picked = id;
    showPoint();
  };

  /** @returns {BackupSummary | null} */
  const chosen = () =>
    backups.find(({ id }) => id === picked) ??
    backups.find(({ verified, problem }) => verified && problem === null) ??
    backups[0] ??
    null;

  const showPoint = () => {
    const backup = chosen();
    timeline.select(backup?.id ?? null);
    refill(details, backup, () => (backup === null ? [] : detailsOf(toPoint(backup), picked === null, verifyOne)));
    details.hidden = backup === null;
    showTable();
  };

  const showTable = () => {
    setText(tableCount, total === null ? "" : `(${total.toLocaleString("en-GB")})`);
    table.hidden = backups.length === 0;
    if (!table.open) return;
    const shown = backups.slice(0, rows);
    list.show(shown, chosen()?.id ?? null, (total ?? 0) - shown.length);
  };

  const show = () => {
    if (status === null) return;
    showHead(status);
    setText(sentence, status.healthText);
    refill(current, status.current, () => (status?.current ? currentOf(status.current) : []));
    refill(facts, factsKey(status), () => (status === null ? [] : factsOf(status)));
    for (const button of [backUp, verify]) {
      if (status.current === null) button.removeAttribute("aria-disabled");
      else button.setAttribute("aria-disabled", "true");
    }
    const problems = problemsOf(runs);
    const open = problems.filter(({ overAt }) => overAt === null);
    const over = problems.filter(({ overAt }) => overAt !== null).slice(0, MOST_PAST_PROBLEMS);
    refill(now, open, () => open.map(problemOf));
    refill(past, over, () => over.map(problemOf));
    setText(pastSummary, `Past errors (${over.length}, all over)`);
    pastBox.hidden = over.length === 0;
    showList();
    showPoint();
  };

  const showList = () => {
    /** @type {[Tone, string] | null} */
    let note = null;
    if (listProblem !== null) {
      const seen = isLoaded ? " What is shown here was seen before that." : "";
      note = ["warn", `The restore points cannot be listed: ${listProblem}${seen}`];
    } else if (!isLoaded) note = ["busy", "Looking into the store …"];
    else if (backups.length === 0) note = ["unknown", "There is no restore point yet."];
    else if (total !== null && total > MOST_POINTS) {
      const shown = `${MOST_POINTS.toLocaleString("en-GB")} of ${total.toLocaleString("en-GB")}`;
      note = ["unknown", `The line shows the newest ${shown}.`];
    }
    refill(listNote, note, () => (note === null ? [] : [toneIcon(note[0]), note[1]]));
    listNote.hidden = note === null;
    timeline.element.hidden = backups.length === 0 && runs.length === 0;
    if (status === null) return;
    timeline.update({ points: drawn, runs, status });
  };

  /** @param {SeriesStatus} shown */
  const showHead = ({ health, lastGood, next, current }) => {
    const { tone, word } = healths[health];
    element.dataset.tone = tone;
    refill(headIcon, tone, () => [toneIcon(tone)]);
    setText(headWord, word);
    refill(headFacts, [lastGood, next, current?.kind], () => [
      lastGood === null
        ? h("span", {}, "no good backup")
        : h("span", {}, "last good ", relativeTime(lastGood.startedAt)),
      current === null
        ? h("span", {}, next === null ? "no next run here" : "next ", next !== null && relativeTime(next.at))
        : h("span", { class: "busy" }, toneIcon("busy"), `${kindWords[current.kind]} running`),
    ]);
  };

  return {
    element,
    /** @param {SeriesStatus} next */
    update(next) {
      const before = status;
      status = next;
      show();
      // What the store holds has changed, or was not seen while this page was not connected.
      const { backups: count = null, damaged = null } = next.totals ?? {};
      const isOther =
        before?.totals?.backups !== count ||
        before?.totals?.damaged !== damaged ||
        before?.lastRun?.runId !== next.lastRun?.runId;
      if (before === null || isOther) void load();
      if (next.lastRun !== null) settle(next.lastRun);
    },
    /** @param {RunRecord} run */
    ended(run) {
      settle(run);
      // The status that says so comes a moment later.
      if (status !== null && status.current?.runId === run.runId) {
        status = { ...status, current: null };
        show();
      }
      void load();
    },
    /** Draws anew what depends on the time of day, and tries again what failed. */
    tick() {
      if (isOpen) timeline.draw();
      if (listProblem !== null) void load();
    },
    reveal() {
      open(true);
      element.scrollIntoView();
      toggle.focus();
    },
  };
}

/** @param {unknown} error */
function textOf(error) {
  if (!(error instanceof AskError)) return String(error);
  return error.code === "" ? error.message : `${error.message} (${error.code})`;
}

/**
 * A new first page, with the older ones that were loaded before.
 *
 * @param {BackupSummary[]} newest
 * @param {BackupSummary[]} before
 */
function withOlder(newest, before) {
  const last = newest.at(-1)?.id;
  const index = before.findIndex(({ id }) => id === last);
  return index < 0 || newest.length < MOST_POINTS ? newest : [...newest, ...before.slice(index + 1)];
}
