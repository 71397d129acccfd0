import { readFileSync, statSync } from "node:fs";
import { resolve } from "node:path";
import { BackypError } from "@zk-backyp/core";

/**
 * Puts secrets in place: wherever a configuration says `{ env: NAME }` or `{ file: PATH }`, that variable's value or
 * that file's content (without the newline at its end) is used. Paths are relative to `folder`.
 *
 * @throws BackypError `ERR_CONFIG_INVALID` when a variable is not set or a file cannot be read
 */
export function withSecrets(value: unknown, folder: string, where: string): unknown {
  if (Array.isArray(value)) return value.map((inner, index) => withSecrets(inner, folder, `${where}[${index}]`));
  if (value === null || typeof value !== "object") return value;
  const keys = Object.keys(value);
  const [name] = Object.values(value) as unknown[];
  if (keys.length === 1 && typeof name === "string") {
    if (keys[0] === "env") return fromEnvironment(name, where);
    if (keys[0] === "file") return fromFile(resolve(folder, name), where);
  }
  return Object.fromEntries(
    Object.entries(value).map(([key, inner]) => [key, withSecrets(inner, folder, `${where}.${key}`)]),
  );
}

/** Not taken away, since others look for them too; the credentials of S3 are kept from children by whoever has some. */
const SHARED = /^(AWS_.*|PATH|HOME|USER|LOGNAME|LANG|LC_.*|TZ|TMPDIR|JAVA_HOME|XDG_.*)$/;
/** Read once, and again where a configuration is. */
const taken = new Map<string, string>();

/** Every value that was put in place, also in the form that JSON gives it. */
const known = new Set<string>();
/** Shorter ones would be found in what is no secret. */
const MIN_SECRET_LENGTH = 6;

function remember(value: string): string {
  if (value.length >= MIN_SECRET_LENGTH) known.add(value).add(JSON.stringify(value).slice(1, -1));
  return value;
}

/** A text without any of the secrets that were ever put in place: the last resort of what is shown to others. */
export function withoutSecrets(text: string): string {
  let shown = text;
  // One may begin with another.
  const longestFirst = [...known].sort((one, other) => other.length - one.length);
  for (const secret of longestFirst) shown = shown.replaceAll(secret, "[secret]");
  return shown;
}

/** What is read from there leaves the environment, so that no process that we start inherits it. */
function fromEnvironment(name: string, where: string): string {
  const value = process.env[name] ?? taken.get(name);
  if (value !== undefined && value !== "") {
    if (!SHARED.test(name)) {
      taken.set(name, value);
      delete process.env[name];
    }
    return remember(value);
  }
  throw new BackypError("ERR_CONFIG_INVALID", `${where}: the environment variable ${name} is not set`);
}

function fromFile(path: string, where: string): string {
  try {
    // A pipe that nobody writes into would never be read to its end.
    if (!statSync(path).isFile()) throw new Error("it is not a file");
    return remember(readFileSync(path, "utf8").replace(/\r?\n$/, ""));
  } catch (cause) {
    throw new BackypError("ERR_CONFIG_INVALID", `${where}: cannot read ${path}: ${(cause as Error).message}`, {
      cause,
    });
  }
}
