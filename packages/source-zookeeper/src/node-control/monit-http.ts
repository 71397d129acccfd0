import { randomUUID } from "node:crypto";
import { readFile } from "node:fs/promises";
import { extname } from "node:path";
import { fileURLToPath } from "node:url";
import { abortable, abortError, collect } from "@zk-backyp/core";
import { XMLParser } from "fast-xml-parser";
import type { MonitInterface, MonitService } from "./monit.ts";
import { ANSWER_WITHIN_MS, nodeControlError } from "./run-command.ts";

/** How long an answer may be in bytes. A service takes about 2 kB of it. */
const ANSWER_BYTES = 8 * 1024 * 1024;

/** In `<type>`: a process. Others are files, hosts, the machine. */
const PROCESS = "3";
/** In `<status>`, a set of bits: there is no such process. */
const NOT_THERE = 0x200;
/** In `<monitor>`. */
const MONITORING: Readonly<Record<string, MonitService["monitoring"]>> = { "0": "not monitored", "1": "monitored" };
/** In `<pendingaction>`. */
const ACTIONS = ["none", "alert", "restart", "stop", "exec", "unmonitor", "start", "monitor"];

/** monit's HTTP interface: `set httpd port 2822 ... allow user:password`. */
export interface MonitHttpOptions {
  readonly url: string;
  readonly service: string;
  /** Absolute path of a file whose first line is `user:password`. Read for each request: it may be written anew. */
  readonly credentialsFile?: string | undefined;
}

/** For {@link MonitHttpOptions}. Sends the token that 5.33 asks for against forged requests, and that 5.2.5 ignores. */
export function monitHttp({ url, service, credentialsFile }: MonitHttpOptions): MonitInterface {
  const name = `monit at ${url}`;
  const base = url.endsWith("/") ? url : `${url}/`;

  async function ask(
    path: string,
    signal: AbortSignal,
    form?: Readonly<Record<string, string>>,
  ): Promise<{ readonly code: number; readonly body: string }> {
    const token = randomUUID();
    const headers: Record<string, string> = { cookie: `securitytoken=${token}` };
    if (credentialsFile !== undefined) {
      const credentials = await readCredentials(credentialsFile);
      headers.authorization = `Basic ${Buffer.from(credentials).toString("base64")}`;
    }
    const either = AbortSignal.any([signal, AbortSignal.timeout(ANSWER_WITHIN_MS)]);
    try {
      const response = await fetch(new URL(path, base), {
        headers,
        signal: either,
        // An accepted action is answered with a redirect to the service's page.
        redirect: "manual",
        ...(form === undefined
          ? {}
          : { method: "POST", body: new URLSearchParams({ ...form, securitytoken: token }).toString() }),
      });
      const body =
        response.body === null ? "" : (await collect(abortable(response.body, either), ANSWER_BYTES)).toString();
      return { code: response.status, body };
    } catch (cause) {
      if (signal.aborted) throw abortError(signal);
      const { message } = ((cause as Error).cause ?? cause) as Error;
      throw nodeControlError(`${name} cannot be asked: ${message}; does it run, with "set httpd"?`, { cause });
    }
  }

  function refused({ code, body }: { readonly code: number; readonly body: string }, what: string): Error {
    if (code === 401 && credentialsFile === undefined) {
      return nodeControlError(`${name} asks for a user and a password: name a credentialsFile`);
    }
    if (code === 401) return nodeControlError(`${name} does not let in the user of ${credentialsFile}`);
    // 5.33 answers 403 to a user that is "read-only".
    const reason = /<\/h2>([^<]*)/.exec(body)?.[1]?.trim() ?? "";
    return nodeControlError(`${name} did not ${what}: HTTP ${code}${reason === "" ? "" : `: ${reason}`}`);
  }

  return {
    name,
    startCommand: [
      process.execPath,
      fileURLToPath(new URL(`./start-node${extname(import.meta.url)}`, import.meta.url)),
      JSON.stringify({ url, service, credentialsFile }),
    ],

    async request(action, signal) {
      const answer = await ask(encodeURIComponent(service), signal, { action });
      if (answer.code === 503) return "busy";
      if (answer.code === 200 || answer.code === 302) return "accepted";
      throw refused(answer, `${action} ${service}`);
    },

    async look(signal) {
      const answer = await ask("_status2?format=xml", signal);
      if (answer.code !== 200) throw refused(answer, "tell its status");
      return findService(answer.body, service, name);
    },
  };
}

/** Reads `_status2?format=xml`, of 5.2.5 as of 5.33. */
export function findService(
  xml: string,
  service: string,
  name: string,
): MonitService | { readonly others: readonly string[] } {
  const found: { readonly [field: string]: unknown }[] = parse(xml, name);
  const processes = found.filter(({ type }) => type === PROCESS);
  const one = processes.find((each) => each["@_name"] === service);
  if (one === undefined) return { others: processes.map((each) => String(each["@_name"])) };
  const { monitor, pendingaction, status } = one;
  if (typeof monitor !== "string" || typeof pendingaction !== "string" || typeof status !== "string") {
    throw nodeControlError(`${name} says of ${service} no monitor, pendingaction and status`);
  }
  const pid = Number(one.pid);
  return {
    monitoring: MONITORING[monitor] ?? "initializing",
    // An action that a later release brings is at least known to be pending.
    pending: pendingaction === "0" ? null : (ACTIONS[Number(pendingaction)] ?? `action ${pendingaction}`),
    isMissing: (Number(status) & NOT_THERE) !== 0,
    pid: Number.isSafeInteger(pid) && pid > 0 ? pid : null,
  };
}

function parse(xml: string, name: string): { readonly [field: string]: unknown }[] {
  const parser = new XMLParser({
    ignoreAttributes: false,
    parseTagValue: false,
    parseAttributeValue: false,
    processEntities: false,
    isArray: (tag) => tag === "service",
  });
  try {
    const { monit } = parser.parse(xml, true);
    const services = monit.services === "" ? [] : monit.services.service;
    if (Array.isArray(services)) return services;
  } catch {
    // Said below.
  }
  throw nodeControlError(`${name} answers with something else than monit's status; is the url right?`);
}

async function readCredentials(file: string): Promise<string> {
  let text: string;
  try {
    text = await readFile(file, "utf8");
  } catch (cause) {
    throw nodeControlError(`cannot read monit's user and password: ${(cause as Error).message}`, { cause });
  }
  const [line = ""] = text.split("\n");
  if (!line.includes(":")) throw nodeControlError(`${file} does not begin with a line user:password`);
  return line.trimEnd();
}
