// @ts-check
import { absoluteTime, h, relativeTime, setText, toneIcon } from "./dom.js";
import { formatBytes, formatDuration } from "./format.js";
import { code, fact, small } from "./pieces.js";
import { pointTime, stateTexts } from "./timeline.js";
import { stateTones } from "./words.js";

/** @import { BackupSummary } from "../src/daemon/daemon-view.ts" */
/** @import { Point } from "./timeline.js" */

/**
 * @param {Point} point
 * @param {boolean} isNewestGood
 * @param {(id: string) => void} verifyOne
 */
export function detailsOf(point, isNewestGood, verifyOne) {
  const { backup, state } = point;
  const { id, problem, restoreCommand } = backup;
  const at = pointTime(point);
  const title =
    isNewestGood && (state === "good" || state === "read-back") ? "Newest good restore point" : "Restore point";
  return [
    h(
      "div",
      { class: "details-title" },
      h("h4", {}, title),
      h("span", { class: "with-icon" }, toneIcon(stateTones[state]), stateTexts[state]),
    ),
    h(
      "dl",
      { class: "facts" },
      fact("Taken", ...(at === "" ? ["not known"] : [relativeTime(at), small(absoluteTime(at))])),
      fact("Id", code(id)),
      ...(problem === null ? goodFactsOf(backup) : []),
      backup.pinned !== null && fact("Pinned", backup.pinned),
    ),
    problem !== null && h("p", { class: "problem-line" }, problem),
    state === "damaged" &&
      h("p", { class: "problem-line" }, "It was kept although it is damaged: restore another one if you can."),
    problem === null && commandOf(restoreCommand, id, verifyOne),
  ];
}

/** @param {BackupSummary} backup */
function goodFactsOf({ startedAt, finishedAt, bytes, plainBytes, downtimeMs, upTo, upToTime, verifiedAt }) {
  return [
    fact("Size", formatBytes(bytes), small(`${formatBytes(plainBytes)} unpacked`)),
    fact(
      "Took",
      formatDuration(Date.parse(finishedAt) - Date.parse(startedAt)),
      downtimeMs !== null && small(`server down for ${formatDuration(downtimeMs)}`),
    ),
    fact("Holds all up to", code(upTo), upToTime !== null && small(absoluteTime(upToTime))),
    fact(
      "Read back",
      ...(verifiedAt === null ? ["never by this daemon"] : [relativeTime(verifiedAt), small(absoluteTime(verifiedAt))]),
    ),
  ];
}

/**
 * @param {string} command
 * @param {string} id
 * @param {(id: string) => void} verifyOne
 */
function commandOf(command, id, verifyOne) {
  const text = h(
    "code",
    {
      class: "command",
      role: "textbox",
      "aria-readonly": "true",
      tabindex: 0,
      "data-focus": "command",
      "aria-label": "Restore command",
    },
    command,
  );
  const said = h("span", { class: "muted", role: "status" });
  const copy = async () => {
    const range = document.createRange();
    range.selectNodeContents(text);
    const selection = getSelection();
    selection?.removeAllRanges();
    selection?.addRange(range);
    setText(said, (await copied(command)) ? "Copied." : "Selected: copy it with Ctrl+C (⌘C).");
  };
  return h(
    "div",
    { class: "restore" },
    h("p", { class: "restore-label" }, "To restore it, run on the daemon’s host:"),
    text,
    h(
      "div",
      { class: "buttons" },
      h(
        "button",
        { type: "button", class: "primary", "data-focus": "copy", click: () => void copy() },
        "Copy the command",
      ),
      h("button", { type: "button", "data-focus": "verify", click: () => verifyOne(id) }, "Verify this one"),
      said,
    ),
  );
}

/**
 * @param {string} text which is selected as well, for a browser that gives no page its clipboard
 * @returns {Promise<boolean>}
 */
async function copied(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    return document.execCommand("copy");
  }
}
