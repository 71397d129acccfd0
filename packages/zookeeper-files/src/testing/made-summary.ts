import type { SnapshotSummary } from "../snapshot/snapshot-summary.ts";

/** Of a small snapshot that asks nothing of the logs. */
export const MADE_SUMMARY: SnapshotSummary = {
  nodes: 4,
  sessions: 0,
  acls: 1,
  ephemerals: 0,
  containers: 0,
  ttlNodes: 0,
  danglingAcls: 0,
  dataBytes: 0,
  largestFieldBytes: 0,
  digest: null,
  lastZxid: null,
  highestZxid: 0n,
  bytes: 457,
};
