import type { CheckItem } from "@zk-backyp/core";

/** An item and what it is about. */
export interface ReportedItem extends CheckItem {
  /** Name of the series, or null for what all share. */
  readonly series: string | null;
}

export function ok(name: string, message: string): CheckItem {
  return { name, status: "ok", message, remedy: null };
}

export function warning(name: string, message: string, remedy: string): CheckItem {
  return { name, status: "warning", message, remedy };
}

export function failed(name: string, message: string, remedy: string): CheckItem {
  return { name, status: "failed", message, remedy };
}
