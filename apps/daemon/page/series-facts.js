// @ts-check
import { absoluteTime, h, localTime, relativeTime, toneIcon } from "./dom.js";
import { formatBytes, formatCount, formatDuration, nowMs } from "./format.js";
import { code, fact, small, withCode } from "./pieces.js";
import { kindWords, outcomes, triggerTexts } from "./words.js";

/** @import { CurrentRun, RunRecord, SeriesStatus } from "../src/daemon/daemon-view.ts" */
/** @import { Child, Tone } from "./dom.js" */
/** @import { Problem } from "./problems.js" */

/** @param {CurrentRun} run */
export function currentOf({ kind, trigger, startedAt, backupId, bytes, totalBytes, step }) {
  const label = `${kindWords[kind]} running`;
  const isKnown = totalBytes > 0;
  const percent = isKnown ? Math.min(100, Math.floor((bytes / totalBytes) * 100)) : 0;
  const amount = isKnown
    ? `${formatBytes(bytes)} of about ${formatBytes(totalBytes)} (${percent} %)`
    : formatBytes(bytes);
  return [
    h("p", { class: "current-title" }, toneIcon("busy"), h("strong", {}, label), h("span", {}, triggerTexts[trigger])),
    h("progress", { "aria-label": label, max: 100, value: isKnown ? percent : null }),
    h(
      "p",
      { class: "current-facts muted" },
      h("span", {}, amount),
      step !== null && h("span", {}, `step: ${step}`),
      h("span", {}, "begun ", relativeTime(startedAt)),
      backupId !== null && h("code", {}, backupId),
    ),
  ];
}

/** @param {SeriesStatus} status what the facts are made from, without what changes all the time */
export function factsKey({ current, healthText, health, totals, ...rest }) {
  return { ...rest, totals: totals === null ? null : { ...totals, seenAt: "" }, running: current?.kind };
}

/** @param {SeriesStatus} status */
export function factsOf(status) {
  const { lastGood, staleAt, lastRun, lastVerified, totals } = status;
  return [
    fact("Next run", ...nextOf(status)),
    fact(
      "Newest good backup",
      ...(lastGood === null
        ? ["none"]
        : [
            relativeTime(lastGood.startedAt),
            small(absoluteTime(lastGood.startedAt)),
            staleAt !== null && small("stale ", Date.parse(staleAt) < nowMs() ? "since " : "from ", localTime(staleAt)),
          ]),
    ),
    fact(
      "Last run",
      ...(lastRun === null ? ["none yet"] : lastRunOf(lastRun)),
      status.failuresInARow > 1 && small(`${status.failuresInARow} failures in a row`),
    ),
    fact(
      "Last read back",
      ...(lastVerified === null
        ? ["never by this daemon"]
        : [relativeTime(lastVerified.at), small(code(lastVerified.id))]),
    ),
    fact("Schedule", status.schedule, small(`${status.source}, ${status.mode}`)),
    fact("Runs", ...placeOf(status)),
    fact("Store", code(status.sink), status.prefix !== status.name && small("prefix ", code(status.prefix))),
    fact(
      "In the store",
      ...(totals === null
        ? ["not seen yet"]
        : [
            formatCount(totals.backups, "backup"),
            small(
              formatBytes(totals.bytes),
              totals.damaged > 0 && `, ${totals.damaged.toLocaleString("en-GB")} damaged`,
            ),
          ]),
    ),
  ];
}

/**
 * @param {SeriesStatus} status
 * @returns {Child[]}
 */
function nextOf({ next, current, notHere }) {
  if (notHere !== null) return ["not on this node", small(notHere)];
  if (current !== null) return ["after the one under way"];
  if (next === null) return ["none planned"];
  return [
    relativeTime(next.at),
    small(absoluteTime(next.at)),
    next.trigger !== "schedule" && small(triggerTexts[next.trigger]),
  ];
}

/**
 * @param {RunRecord} run
 * @returns {Child[]}
 */
function lastRunOf({ kind, outcome, finishedAt, durationMs, downtimeMs }) {
  const { tone, word } = outcomes[outcome];
  const downtime = downtimeMs === null ? "" : `, server down for ${formatDuration(downtimeMs)}`;
  return [
    h("span", { class: "with-icon" }, toneIcon(tone), `${kindWords[kind]} ${word}`),
    small(relativeTime(finishedAt), ` · took ${formatDuration(durationMs)}${downtime}`),
  ];
}

/**
 * @param {SeriesStatus} status
 * @returns {Child[]}
 */
function placeOf({ runOn, election, notHere }) {
  if (election === null) {
    const text = runOn === "always" ? "on this node" : runOn === "elected" ? "on the elected node" : `on ${runOn}`;
    return [text, notHere !== null && runOn === "elected" && small(notHere)];
  }
  const { state, since, holder, problem } = election;
  /** @type {Record<typeof state, { tone: Tone, text: string }>} */
  const states = {
    elected: { tone: "ok", text: "this node is elected" },
    waiting: { tone: "ok", text: holder === null ? "another node is elected" : `${holder} is elected` },
    unreachable: { tone: "warn", text: "who is elected is not known" },
  };
  const { tone, text } = states[state];
  return [
    h("span", { class: "with-icon" }, toneIcon(tone), text),
    small("runOn: elected · so since ", localTime(since)),
    problem !== null && small(problem),
  ];
}

/** @param {Problem} problem */
export function problemOf({ kind, code: errorCode, message, remedy, firstAt, lastAt, count, overAt }) {
  return h(
    "div",
    { class: "problem", "data-over": overAt !== null },
    h(
      "p",
      { class: "problem-title" },
      toneIcon(overAt === null ? "warn" : "ok"),
      h("strong", {}, overAt === null ? `${kindWords[kind]} fails` : `${kindWords[kind]} failed, over`),
      code(errorCode),
    ),
    h("p", { class: "problem-message" }, message),
    remedy !== "" && h("p", {}, h("strong", {}, "What to do: "), ...withCode(remedy)),
    h(
      "p",
      { class: "small muted" },
      relativeTime(lastAt),
      " · ",
      absoluteTime(lastAt),
      count > 1 && ` · ${count} times since `,
      count > 1 && absoluteTime(firstAt),
      overAt !== null && " · over since ",
      overAt !== null && absoluteTime(overAt),
    ),
  );
}
