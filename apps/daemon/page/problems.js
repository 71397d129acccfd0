// @ts-check

/** @import { RunKind, RunRecord } from "../src/daemon/daemon-view.ts" */

/**
 * One error, however often it came in a row.
 *
 * @typedef {object} Problem
 * @property {RunKind} kind of the runs that had it
 * @property {string} code
 * @property {string} message
 * @property {string} remedy
 * @property {string} firstAt
 * @property {string} lastAt
 * @property {number} count
 * @property {string | null} overAt when a run of the same kind went well after it; null: it is not over
 */

/**
 * What went wrong in the runs that are remembered, newest first.
 *
 * @param {readonly RunRecord[]} runs newest first
 * @returns {Problem[]}
 */
export function problemsOf(runs) {
  /** @type {Problem[]} */
  const problems = [];
  /** @type {Map<RunKind, string>} */
  const healedAt = new Map();
  /** @type {Map<RunKind, Problem>} */
  const open = new Map();
  for (const { kind, outcome, finishedAt, message, error } of runs) {
    // What another daemon has stored is as good as what this one has.
    if (outcome === "ok" || outcome === "taken") {
      healedAt.set(kind, finishedAt);
      open.delete(kind);
    } else if (outcome === "failed" || outcome === "damaged") {
      const found = { code: error?.code ?? outcome, message: error?.message ?? message, remedy: error?.remedy ?? "" };
      const same = open.get(kind);
      if (same !== undefined && same.code === found.code && same.message === found.message) {
        same.firstAt = finishedAt;
        same.count += 1;
      } else {
        const overAt = healedAt.get(kind) ?? null;
        const problem = { kind, ...found, firstAt: finishedAt, lastAt: finishedAt, count: 1, overAt };
        problems.push(problem);
        open.set(kind, problem);
      }
    }
  }
  return problems;
}
