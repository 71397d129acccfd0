import { type Clock, systemErrorCode } from "@zk-backyp/core";
import type { NotificationConfig } from "../config.ts";
import { printable } from "../printable.ts";
import type { Notification } from "./notification.ts";
import { fillTemplate, PLACEHOLDER } from "./template.ts";

export type WebhookConfig = Extract<NotificationConfig, { readonly use: "webhook" }>;

/** How long one try may take in milliseconds, answer included. */
const TRY_WITHIN_MS = 10_000;
/** How long is waited in milliseconds before the second try, and before the third. */
const WAIT_MS: readonly number[] = [2_000, 10_000];
/** The longest wait that a server may ask for, in milliseconds. */
const LONGEST_WAIT_MS = 60_000;
const MAX_REDIRECTS = 3;
/** What is read of an answer that refuses, in bytes; a longer one is not shown. */
const ANSWER_BYTES = 4_096;
const SHOWN_CHARACTERS = 200;
/** Shorter pieces of a configuration are no secret, and would be found in every text. */
const MIN_SECRET_LENGTH = 6;

interface WebhookContext {
  readonly clock: Clock;
  readonly signal: AbortSignal;
  /** Default: {@link TRY_WITHIN_MS}. */
  readonly tryWithinMs?: number;
}

/** Why it was not taken. */
class Refusal extends Error {
  /** Whether it may be taken later. */
  readonly isPassing: boolean;
  readonly retryAfterMs: number;

  constructor(message: string, isPassing: boolean, retryAfterMs = 0) {
    super(message);
    this.isPassing = isPassing;
    this.retryAfterMs = retryAfterMs;
  }
}

/** What may be shown of an address: a path or a query may hold a token. */
export function originOf(url: string): string {
  return URL.canParse(url) ? new URL(url).origin : "an address that is no URL";
}

/**
 * Posts a notification, and again where the failure may pass: nobody answers, 429, 5xx.
 *
 * @throws Error that says why, with nothing out of the configuration in it but the address' origin
 */
export async function postWebhook(
  config: WebhookConfig,
  notification: Notification,
  context: WebhookContext,
): Promise<void> {
  const text = JSON.stringify(config.body === undefined ? notification : fillTemplate(config.body, notification));
  for (let tries = 1; ; tries += 1) {
    try {
      return await tryOnce(config, text, context);
    } catch (error) {
      const waitMs = WAIT_MS[tries - 1];
      if (!(error instanceof Refusal) || !error.isPassing || waitMs === undefined) throw error;
      await context.clock.sleep(Math.min(Math.max(waitMs, error.retryAfterMs), LONGEST_WAIT_MS), context.signal);
    }
  }
}

async function tryOnce(config: WebhookConfig, text: string, context: WebhookContext): Promise<void> {
  const late = AbortSignal.timeout(context.tryWithinMs ?? TRY_WITHIN_MS);
  const signal = AbortSignal.any([late, context.signal]);
  let { url, headers } = requestOf(config);
  for (let redirects = 0; ; redirects += 1) {
    let response: Response;
    try {
      response = await fetch(url, { method: "POST", headers, body: text, redirect: "manual", signal });
    } catch (cause) {
      // Only codes: what Node says of a bad URL or header quotes it.
      const code = systemErrorCode((cause as Error).cause) ?? systemErrorCode(cause);
      const why = late.aborted ? "it took too long" : (code ?? "the request cannot be made: look at url and headers");
      throw new Refusal(`${url.origin} could not be asked: ${why}`, code !== undefined || late.aborted);
    }
    const { status } = response;
    const said = status < 400 ? "" : withoutParts(await wholeAnswer(response), config);
    await response.body?.cancel().catch(() => {});
    if (status >= 200 && status < 300) return;
    const next = status === 307 || status === 308 ? locationOf(response, url) : null;
    if (next !== null && next.origin === url.origin && redirects < MAX_REDIRECTS) {
      url = next;
      continue;
    }
    const answer = `${url.origin} answered with ${status}`;
    if (status < 400) {
      throw new Refusal(`${answer}, which leads elsewhere: put the address it leads to into the configuration`, false);
    }
    const isPassing = status === 429 || status >= 500;
    const message = said === "" ? answer : `${answer}: ${said}`;
    throw new Refusal(message, isPassing, retryAfterMs(response, context.clock.now()));
  }
}

/** User and password in an address become a header: fetch refuses them where they are. */
function requestOf(config: WebhookConfig): { url: URL; headers: Headers } {
  try {
    const url = new URL(config.url);
    const headers = new Headers({ "content-type": "application/json", "user-agent": "zk-backyp", ...config.headers });
    if (url.username !== "" || url.password !== "") {
      const user = `${decodeURIComponent(url.username)}:${decodeURIComponent(url.password)}`;
      if (!headers.has("authorization")) headers.set("authorization", `Basic ${Buffer.from(user).toString("base64")}`);
      url.username = "";
      url.password = "";
    }
    return { url, headers };
  } catch {
    throw new Refusal(`${originOf(config.url)} could not be asked: its url or headers are wrong`, false);
  }
}

function locationOf(response: Response, url: URL): URL | null {
  const location = response.headers.get("location");
  return location !== null && URL.canParse(location, url.href) ? new URL(location, url) : null;
}

/** Nothing of one that is too long or cut off: half a token would not be known for one. */
async function wholeAnswer(response: Response): Promise<string> {
  let bytes = Buffer.alloc(0);
  try {
    for await (const chunk of response.body ?? []) {
      if (bytes.byteLength + chunk.byteLength > ANSWER_BYTES) return "";
      bytes = Buffer.concat([bytes, chunk]);
    }
    return bytes.toString();
  } catch {
    return "";
  }
}

/** Servers like to repeat what they were sent: a token in the path, a key in the body. */
function withoutParts(text: string, config: WebhookConfig): string {
  const url = new URL(config.url);
  const parts = [
    ...url.pathname.split("/"),
    ...url.searchParams.values(),
    ...url.search.slice(1).split(/[&=]/),
    url.username,
    url.password,
    ...Object.values(config.headers ?? {}).flatMap((value) => [value, ...value.split(/\s+/)]),
    ...textsIn(config.body).flatMap((text) => text.split(PLACEHOLDER)),
  ];
  const longestFirst = parts
    .flatMap((part) => [part, decoded(part), JSON.stringify(part).slice(1, -1)])
    .filter((part) => part.length >= MIN_SECRET_LENGTH)
    .sort((a, b) => b.length - a.length);
  let shown = text;
  for (const part of longestFirst) shown = shown.replaceAll(part, "***");
  return printable(shown.replaceAll(/\s+/g, " ").trim()).slice(0, SHOWN_CHARACTERS);
}

function textsIn(body: unknown): readonly string[] {
  if (typeof body === "string") return [body];
  return body !== null && typeof body === "object" ? Object.values(body).flatMap(textsIn) : [];
}

function decoded(part: string): string {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}

/** Seconds, or a date. */
function retryAfterMs(response: Response, now: Date): number {
  const value = response.headers.get("retry-after") ?? "";
  const ms = /^\d+$/.test(value) ? Number(value) * 1000 : Date.parse(value) - now.getTime();
  return Number.isNaN(ms) ? 0 : Math.max(0, ms);
}
