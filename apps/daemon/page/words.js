// @ts-check

/** @import { Outcome, SeriesStatus, Trigger } from "../src/daemon/daemon-view.ts" */
/** @import { Tone } from "./dom.js" */
/** @import { PointState } from "./timeline.js" */

/** @type {Readonly<Record<SeriesStatus["health"], { tone: Tone, word: string }>>} */
export const healths = {
  ok: { tone: "ok", word: "Good" },
  failing: { tone: "warn", word: "Failing" },
  stale: { tone: "bad", word: "Stale" },
  unknown: { tone: "unknown", word: "Not known yet" },
};

/** @type {Readonly<Record<Trigger, string>>} */
export const triggerTexts = {
  schedule: "on schedule",
  "catch-up": "catching up on one that was missed",
  retry: "again after a failure",
  first: "the first one",
  request: "on request",
};

/** @type {Readonly<Record<Outcome, { tone: Tone, word: string }>>} */
export const outcomes = {
  ok: { tone: "ok", word: "went well" },
  failed: { tone: "warn", word: "failed" },
  damaged: { tone: "bad", word: "found damage" },
  skipped: { tone: "unknown", word: "was skipped" },
  taken: { tone: "ok", word: "was done by another daemon" },
  lost: { tone: "unknown", word: "was left to another node" },
  postponed: { tone: "unknown", word: "was postponed" },
  aborted: { tone: "unknown", word: "was aborted" },
};

export const kindWords = { backup: "Backup", verify: "Verification", prune: "Prune" };

/** @type {Readonly<Record<PointState, Tone>>} */
export const stateTones = { good: "ok", "read-back": "ok", damaged: "bad", unreadable: "unknown" };
