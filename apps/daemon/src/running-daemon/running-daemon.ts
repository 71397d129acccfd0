import { BackypError } from "@zk-backyp/core";
import { z } from "zod";
import { readHttpPlace } from "../config.ts";
import type { Hold } from "../daemon/daemon-view.ts";
import { withSecrets } from "../secrets.ts";
import { httpExchange } from "./http-exchange.ts";

/** What is used of a `DaemonStatus`, of whatever release. */
export interface RunningStatus {
  readonly startedAt: string;
  readonly state: string;
  readonly hold: Hold | null;
  readonly series: readonly {
    readonly name: string;
    readonly current: { readonly kind: string; readonly startedAt: string; readonly step: string | null } | null;
  }[];
}

const time = z.iso.datetime();
const statusSchema: z.ZodType<RunningStatus> = z.looseObject({
  startedAt: time,
  state: z.string(),
  // One of an older release has none.
  hold: z
    .object({ since: time, until: time, abort: z.boolean(), problem: z.string().nullable() })
    .nullable()
    .default(null),
  series: z.array(
    z.looseObject({
      name: z.string(),
      current: z.looseObject({ kind: z.string(), startedAt: time, step: z.string().nullable() }).nullable(),
    }),
  ),
});

/** What listens everywhere is reached here. */
const WILDCARDS: Readonly<Record<string, string>> = { "0.0.0.0": "127.0.0.1", "::": "::1" };

/** What came of a question: `gone`: nobody listens there; `silent`: the daemon did not answer, but may do so yet. */
type Asked = { readonly kind: "gone" } | { readonly kind: "silent"; readonly why: string } | Answered;

interface Answered {
  readonly kind: "answered";
  readonly status: RunningStatus;
}

/** The daemon that a configuration is of, as others can ask it. */
export interface RunningDaemon {
  readonly url: string;
  /**
   * Asks for its status, or asks it to do something and gets its status then.
   *
   * @param signal to be aborted when it takes too long, which is `silent`
   * @throws BackypError `ERR_CONFIG_INVALID` if the token or the certificate cannot be read, or the token is another one
   * @throws BackypError `ERR_DAEMON_UNAVAILABLE` if it cannot be reached, or what answers is no daemon that can do this
   */
  ask(request: { readonly path: string; readonly body?: object }, signal: AbortSignal): Promise<Asked>;
}

/**
 * Finds out from a configuration where its daemon listens. Nothing is asked yet, and no secret looked up.
 *
 * @throws BackypError `ERR_CONFIG_INVALID` if it does not listen, listens anywhere, or would take no orders
 */
export async function runningDaemon(configPath: string | undefined): Promise<RunningDaemon> {
  const place = await readHttpPlace(configPath);
  if (place === null) {
    throw invalid("there is no configuration file here: name the daemon's with --config");
  }
  const { path, folder, http } = place;
  if (http === false) {
    throw invalid(
      `${path}: http is false, so that the daemon cannot be asked: leave it out, or end the daemon instead`,
    );
  }
  const { port, tls, token } = http;
  const host = WILDCARDS[http.host] ?? http.host;
  if (port === 0) {
    throw invalid(`${path}: http.port is 0, so that nobody knows where the daemon listens: give it a port`);
  }
  if (token === undefined) {
    throw invalid(
      `${path}: there is no http.token, so that the daemon takes no orders: set it, for example to { file: /etc/zk-backyp/token }, and reload the daemon`,
    );
  }
  const url = `${tls === undefined ? "http" : "https"}://${host.includes(":") ? `[${host}]` : host}:${port}`;
  const unavailable = (why: string, cause?: unknown): BackypError =>
    new BackypError("ERR_DAEMON_UNAVAILABLE", `the daemon at ${url} cannot be asked: ${why}`, { cause });

  return {
    url,
    async ask({ path: asked, body }, signal) {
      const authorization = body === undefined ? null : `Bearer ${withSecrets(token, folder, "http.token") as string}`;
      const exchange = await httpExchange({ host, port, tls, folder, path: asked, authorization, body }, signal);
      if (exchange.kind === "failed") throw unavailable(exchange.why, exchange.cause);
      if (exchange.kind !== "answered") return exchange;
      const { code, text } = exchange;
      const answer = parsed(text);
      if (code === 429 || code === 503) return { kind: "silent", why: `it answers ${code}: ${messageOf(answer)}` };
      if (code === 401 || code === 403) {
        throw invalid(
          `${path}: the daemon at ${url} does not take http.token: it has read another configuration, or an older one (SIGHUP has it read this one anew). It says: ${messageOf(answer)}`,
        );
      }
      const { data: status } = statusSchema.safeParse(answer);
      if ((code === 200 || code === 202) && status !== undefined) return { kind: "answered", status };
      if (code === 404 && /^ERR_/.test(codeOf(answer))) {
        throw unavailable("it is of an older release, which knows nothing of this: restart it");
      }
      throw unavailable(`what answers (${code}) is no daemon of zk-backyp, or one of a release that is too new`);
    },
  };
}

function invalid(message: string): BackypError {
  return new BackypError("ERR_CONFIG_INVALID", message);
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

const errorSchema = z.looseObject({ error: z.looseObject({ code: z.string(), message: z.string() }) });

function codeOf(answer: unknown): string {
  return errorSchema.safeParse(answer).data?.error.code ?? "";
}

function messageOf(answer: unknown): string {
  return errorSchema.safeParse(answer).data?.error.message ?? "nothing that could be understood";
}
