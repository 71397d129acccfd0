import type { Notification } from "../notifications/notification.ts";

/** A notification of a failed backup. */
export function madeNotification(fields: Partial<Notification> = {}): Notification {
  return {
    event: "failure",
    key: "zk-prod/backup",
    action: "trigger",
    severity: "error",
    reminder: false,
    series: "zk-prod",
    prefix: "zk-prod",
    sink: "file:/backups",
    host: "zk-1",
    time: "2026-11-22T12:00:00.000Z",
    since: "2026-11-22T11:59:00.000Z",
    message: "zk-prod: the backup on zk-1 failed: no space left",
    kind: "backup",
    runId: "a-run",
    backupId: "zk-prod-20261122T115900000Z",
    errorCode: "ERR_SINK_FULL",
    errorMessage: "no space left",
    remedy: "Make room in the store.",
    failuresInARow: 1,
    lastGoodId: null,
    lastGoodTime: null,
    statusUrl: null,
    ...fields,
  };
}
