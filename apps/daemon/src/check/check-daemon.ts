import { randomUUID } from "node:crypto";
import { lookup } from "node:dns/promises";
import { access, constants, mkdir, readFile, rm, rmdir, stat, writeFile } from "node:fs/promises";
import { createServer, isIP } from "node:net";
import { delimiter, dirname, join, resolve } from "node:path";
import { createSecureContext } from "node:tls";
import { type CheckItem, systemErrorCode } from "@zk-backyp/core";
import type { DaemonConfig, HttpConfig, NotificationConfig } from "../config.ts";
import { failed, ok, warning } from "./reported-item.ts";

/** Tries what the daemon needs besides its series: where it listens, whom it tells, and where it remembers. */
export async function* checkDaemon(config: DaemonConfig): AsyncGenerator<CheckItem, void, void> {
  const { http, notifications, stateDir, folder } = config;
  if (http === false) yield ok("http", "the daemon does not listen");
  else yield* checkHttp(http);
  for (const [index, each] of notifications.entries()) {
    yield await checkNotification(each, `notification ${index + 1}`, folder);
  }
  yield await checkStateDir(stateDir);
}

async function* checkHttp({ host, port, tls, token }: HttpConfig): AsyncGenerator<CheckItem, void, void> {
  const problem = await whyNotListen(host, port);
  if (problem === "EADDRINUSE") {
    const message = `${host}:${port} is in use`;
    yield warning("http", message, "nothing, if that is this daemon at work; else choose another http.port");
  } else if (problem !== null) {
    yield failed("http", `cannot listen on ${host}:${port}: ${problem}`, "correct http.host and http.port");
  } else {
    yield ok("http", `${host}:${port} is free`);
  }
  if (tls !== undefined) {
    try {
      const [cert, key] = await Promise.all([readFile(tls.certFile), readFile(tls.keyFile)]);
      createSecureContext({ cert, key });
      yield ok("http: tls", "certificate and key belong together");
    } catch (error) {
      yield failed(
        "http: tls",
        (error as Error).message,
        "correct http.tls.certFile and keyFile: PEM, without a passphrase",
      );
    }
  }
  const isLoopback = host === "localhost" || host === "::1" || (isIP(host) === 4 && host.startsWith("127."));
  if (!isLoopback && tls === undefined) {
    const message = `everybody who reaches ${host}:${port} can read the state${token === undefined ? "" : ", and whoever listens in the token"}`;
    yield warning("http: access", message, "use http.tls, or 127.0.0.1 and a proxy before it");
  } else if (token === undefined) {
    yield ok("http: access", "there is no token: nothing can be changed by HTTP");
  } else {
    yield ok("http: access", "whoever changes something has to show the token");
  }
}

/** Null if one can listen there, else why not. */
function whyNotListen(host: string, port: number): Promise<string | null> {
  return new Promise((settle) => {
    const server = createServer();
    server.once("error", (error: NodeJS.ErrnoException) =>
      settle(error.code === "EADDRINUSE" ? error.code : error.message),
    );
    server.listen({ host, port, exclusive: true }, () => server.close(() => settle(null)));
  });
}

async function checkNotification(target: NotificationConfig, name: string, folder: string): Promise<CheckItem> {
  if (target.use === "webhook") {
    // The rest of it may be a secret.
    const { hostname } = new URL(target.url);
    try {
      await lookup(hostname.replace(/^\[|\]$/g, ""));
      return ok(name, `the webhook's host ${hostname} is known (nothing was sent)`);
    } catch (error) {
      const message = `the webhook's host ${hostname} is not found: ${(error as Error).message}`;
      return failed(name, message, "correct the url, or this node's name servers");
    }
  }
  const [program = ""] = target.command;
  const places = program.includes("/")
    ? [resolve(folder, program)]
    : (process.env.PATH ?? "").split(delimiter).map((path) => join(path, program));
  for (const place of places) {
    const isThere = await isProgram(place);
    if (isThere) return ok(name, `${place} is there (it was not run)`);
  }
  return failed(name, `there is no program ${program} that this user may run`, "name its absolute path");
}

async function isProgram(path: string): Promise<boolean> {
  try {
    await access(path, constants.X_OK);
    return (await stat(path)).isFile();
  } catch {
    return false;
  }
}

async function checkStateDir(stateDir: string | undefined): Promise<CheckItem> {
  const name = "state";
  if (stateDir === undefined) {
    const remedy = "set stateDir, or run the daemon by systemd with StateDirectory=";
    return warning(name, "the daemon forgets past runs when it ends: there is no stateDir", remedy);
  }
  try {
    const made = await mkdir(stateDir, { recursive: true, mode: 0o750 });
    const probe = join(stateDir, `.check-${randomUUID()}`);
    try {
      await writeFile(probe, "", { flag: "wx" });
    } finally {
      await rm(probe, { force: true });
      if (made !== undefined) await removeMade(stateDir, made);
    }
    return ok(name, `${stateDir} can be written`);
  } catch (error) {
    const why = systemErrorCode(error) ?? "";
    return failed(
      name,
      `${stateDir} cannot be written: ${(error as Error).message}`,
      `give it to the daemon's user (${why})`,
    );
  }
}

/** Takes away the folders that were not there before. */
async function removeMade(folder: string, first: string): Promise<void> {
  for (let each = folder; each.length >= first.length; each = dirname(each)) await rmdir(each);
}
