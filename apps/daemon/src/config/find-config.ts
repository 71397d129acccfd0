import { readFile, stat } from "node:fs/promises";
import { dirname, resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { BackypError, isBackypError } from "@zk-backyp/core";
import { cosmiconfig } from "cosmiconfig";

/** What a configuration file holds, unchecked. */
export interface FoundConfig {
  readonly path: string;
  readonly folder: string;
  readonly content: unknown;
  /** The file's text, where it is one that lines can be told of. */
  readonly yaml: string | null;
}

const NAMES = ["yaml", "yml", "json", "js", "mjs", "ts"].map((ending) => `zk-backyp.config.${ending}`);

let imports = 0;

/**
 * Node itself takes the types out of a `.ts` file; the loader that cosmiconfig has wants the compiler. Each time under
 * another name: a daemon that reads its configuration anew must not get the old one.
 */
async function importModule(path: string): Promise<unknown> {
  imports += 1;
  const module = (await import(`${pathToFileURL(path).href}?read=${imports}`)) as { default?: unknown };
  return module.default;
}

/**
 * Reads the file at `path`, or the first of `zk-backyp.config.{yaml,yml,json,js,mjs,ts}` in the working directory. Null
 * if no path is given and there is none.
 *
 * @throws BackypError `ERR_CONFIG_INVALID`
 */
export async function findConfig(path: string | undefined): Promise<FoundConfig | null> {
  const explorer = cosmiconfig("zk-backyp", {
    searchPlaces: NAMES,
    loaders: { ".js": importModule, ".mjs": importModule, ".ts": importModule },
  });
  try {
    // A pipe that nobody writes into would never be read to its end.
    if (path !== undefined && !(await stat(path)).isFile()) throw new Error("it is not a file");
    const found = await (path === undefined ? explorer.search() : explorer.load(resolve(path)));
    if (found === null) return null;
    const { series } = (found.config ?? {}) as { readonly series?: object | null };
    // JavaScript would lose it without a word.
    if (Object.hasOwn(series ?? {}, "__proto__")) throw new Error("series.__proto__: a series cannot be called that");
    const yaml = /\.ya?ml$/.test(found.filepath) ? await readFile(found.filepath, "utf8") : null;
    return { path: found.filepath, folder: dirname(found.filepath), content: found.config ?? null, yaml };
  } catch (cause) {
    if (isBackypError(cause)) throw cause;
    const which = path === undefined ? "" : ` ${path}`;
    throw new BackypError("ERR_CONFIG_INVALID", `cannot read the configuration${which}: ${reasonOf(cause)}`);
  }
}

/** Why a file cannot be read, without the excerpt from it that parsers like to show: it may hold a secret. */
function reasonOf(cause: unknown): string {
  const { name, message, reason, mark, code } = cause as NodeJS.ErrnoException & {
    readonly reason?: string;
    readonly mark?: { readonly line: number; readonly column: number };
  };
  if (mark !== undefined) {
    const place = `in line ${mark.line + 1}, column ${mark.column + 1}`;
    return `${reason} ${place}. A text that begins with *, @ or &, or has ": " or " #" in it, needs quotes: "30 2 * * *"`;
  }
  if (code === "ENOENT") return "there is no such file: correct the path, or have `zk-backyp init` write one";
  if (name !== "SyntaxError" && name !== "JSONError" && !/JSON/.test(message)) return message;
  const place = /line \d+,? column \d+|position \d+/.exec(message)?.[0];
  return `it is not valid${place === undefined ? "" : `, at ${place}`}`;
}
