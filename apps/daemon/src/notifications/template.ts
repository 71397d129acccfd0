import type { Notification } from "./notification.ts";

/** What `{{name}}` may name. */
export const TEMPLATE_FIELDS: readonly (keyof Notification)[] = Object.keys({
  event: 0,
  key: 0,
  action: 0,
  severity: 0,
  reminder: 0,
  series: 0,
  prefix: 0,
  sink: 0,
  host: 0,
  time: 0,
  since: 0,
  message: 0,
  kind: 0,
  runId: 0,
  backupId: 0,
  errorCode: 0,
  errorMessage: 0,
  remedy: 0,
  failuresInARow: 0,
  lastGoodId: 0,
  lastGoodTime: 0,
  statusUrl: 0,
} satisfies Record<keyof Notification, 0>) as (keyof Notification)[];

/** Something wrong with a template. */
export interface TemplateIssue {
  /** Counted from the body. */
  readonly path: readonly (string | number)[];
  readonly message: string;
}

export const PLACEHOLDER: RegExp = /\{\{\s*([^{}]*?)\s*\}\}/g;
/** Deeper ones are no message, but something that refers to itself. */
const MAX_DEPTH = 32;

/** What is wrong with a webhook's `body`; nothing if it can be filled. */
export function checkTemplate(body: unknown): readonly TemplateIssue[] {
  const issues: TemplateIssue[] = [];
  const check = (value: unknown, path: readonly (string | number)[]): void => {
    if (path.length > MAX_DEPTH) {
      issues.push({ path, message: `is nested deeper than ${MAX_DEPTH} levels` });
    } else if (typeof value === "string") {
      for (const [written, name = ""] of value.matchAll(PLACEHOLDER)) {
        if (isField(name)) continue;
        const known = TEMPLATE_FIELDS.map((field) => `{{${field}}}`).join(", ");
        issues.push({ path, message: `${written} is not known; there are ${known}` });
      }
    } else if (Array.isArray(value)) {
      for (const [index, item] of value.entries()) check(item, [...path, index]);
    } else if (isPlainObject(value)) {
      for (const [key, item] of Object.entries(value)) check(item, [...path, key]);
    } else if (value !== null && typeof value !== "boolean" && !Number.isFinite(value)) {
      issues.push({ path, message: "is nothing that JSON has" });
    }
  };
  check(body, []);
  return issues;
}

/**
 * The body with every placeholder in its texts replaced: nothing for what is not known. What is put in is never looked
 * through for placeholders, and can only end up inside of the text that named it.
 */
export function fillTemplate(body: unknown, notification: Notification): unknown {
  if (typeof body === "string") {
    return body.replaceAll(PLACEHOLDER, (written: string, name: string) =>
      isField(name) ? String(notification[name] ?? "") : written,
    );
  }
  if (Array.isArray(body)) return body.map((item) => fillTemplate(item, notification));
  if (!isPlainObject(body)) return body;
  return Object.fromEntries(Object.entries(body).map(([key, item]) => [key, fillTemplate(item, notification)]));
}

function isField(name: string): name is keyof Notification {
  return (TEMPLATE_FIELDS as readonly string[]).includes(name);
}

function isPlainObject(value: unknown): value is object {
  if (value === null || typeof value !== "object") return false;
  const prototype: unknown = Object.getPrototypeOf(value);
  return prototype === Object.prototype || prototype === null;
}
