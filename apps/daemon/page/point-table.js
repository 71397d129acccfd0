// @ts-check
import { h, localTime, refill, toneIcon } from "./dom.js";
import { formatBytes, formatDuration, formatLocal } from "./format.js";
import { code, idOf, small } from "./pieces.js";
import { pointTime, stateTexts, toPoint } from "./timeline.js";
import { stateTones } from "./words.js";

/** @import { BackupSummary } from "../src/daemon/daemon-view.ts" */
/** @import { Child } from "./dom.js" */
/** @import { Point } from "./timeline.js" */

const COLUMNS = ["Taken", "Id", "Size", "Took", "Downtime", "Up to", "State", "Pinned"];

/**
 * The list of restore points. It grows without being made anew, since it can have thousands of rows.
 *
 * @param {string} name of the series
 * @param {(id: string) => void} pick
 * @param {() => void} more
 */
export function createPointTable(name, pick, more) {
  /** @type {ReturnType<typeof rowOf>[]} */
  let rows = [];
  const body = h("tbody", { role: "rowgroup" });
  // The roles are said, since a phone shows rows as blocks, and browsers then take them for no table any more.
  const table = h(
    "table",
    { role: "table", "aria-label": `Restore points of ${name}, newest first` },
    h(
      "thead",
      { role: "rowgroup" },
      h("tr", { role: "row" }, ...COLUMNS.map((column) => h("th", { role: "columnheader", scope: "col" }, column))),
    ),
    body,
  );
  const rest = h("p");

  return {
    element: h("div", {}, table, rest),
    /**
     * @param {readonly BackupSummary[]} shown
     * @param {string | null} selected
     * @param {number} left how many there are beside them
     */
    show(shown, selected, left) {
      const isSame = rows.length <= shown.length && rows.every(({ backup }, index) => backup === shown[index]);
      const focus = body.contains(document.activeElement)
        ? rows.find(({ taken }) => taken === document.activeElement)
        : null;
      if (!isSame) {
        rows = [];
        body.replaceChildren();
      }
      const added = shown.slice(rows.length).map((backup) => rowOf(toPoint(backup), pick));
      rows = [...rows, ...added];
      body.append(...added.map(({ row }) => row));
      for (const { backup, row, taken } of rows) {
        row.toggleAttribute("data-selected", backup.id === selected);
        taken.setAttribute("aria-pressed", String(backup.id === selected));
      }
      if (!isSame && focus) rows.find(({ backup }) => backup.id === focus.backup.id)?.taken.focus();
      const text = `Show more (${left.toLocaleString("en-GB")} left)`;
      refill(rest, left, () => [left > 0 && h("button", { type: "button", "data-focus": "more", click: more }, text)]);
    },
  };
}

/**
 * @param {Point} point
 * @param {(id: string) => void} pick
 */
function rowOf(point, pick) {
  const { backup, state } = point;
  const at = pointTime(point);
  const isReadable = state !== "unreadable";
  const taken = h(
    "button",
    {
      type: "button",
      class: "link taken",
      "data-focus": backup.id,
      click: () => pick(backup.id),
    },
    at === "" ? "not known" : formatLocal(at),
  );
  /** @type {Child[][]} */
  const cells = [
    [taken],
    [idOf(backup.id)],
    [isReadable ? formatBytes(backup.bytes) : "–"],
    [isReadable ? formatDuration(Date.parse(backup.finishedAt) - Date.parse(backup.startedAt)) : "–"],
    [backup.downtimeMs === null ? "none" : formatDuration(backup.downtimeMs)],
    [isReadable ? code(backup.upTo) : "–", backup.upToTime !== null && small(localTime(backup.upToTime))],
    [
      h("span", { class: "with-icon" }, toneIcon(stateTones[state]), stateTexts[state]),
      backup.verifiedAt !== null && small(localTime(backup.verifiedAt)),
    ],
    [backup.pinned ?? h("span", { class: "muted" }, "no")],
  ];
  const row = h(
    "tr",
    { role: "row" },
    ...cells.map((children, index) => h("td", { role: "cell", "data-label": COLUMNS[index] ?? "" }, ...children)),
  );
  return { backup, row, taken };
}
