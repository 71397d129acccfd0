import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { PAGE_FOLDER } from "./page-folder.ts";

/** The page as it is served: one document that needs nothing else. */
export interface StatusPage {
  readonly html: string;
  readonly headers: Readonly<Record<string, string>>;
}

// In the order in which they need each other.
const SCRIPTS = [
  "format.js",
  "dom.js",
  "connection.js",
  "problems.js",
  "words.js",
  "pieces.js",
  "timeline.js",
  "token-dialog.js",
  "point-details.js",
  "point-table.js",
  "series-facts.js",
  "series-card.js",
  "status.js",
];

let made: StatusPage | null = null;

/**
 * The status page, put together from the files in `page` the first time that it is asked for. Its policy lets a browser
 * run and show only what is in it, and ask only the host that it came from.
 */
export function statusPage(): StatusPage {
  made ??= makePage();
  return made;
}

function makePage(): StatusPage {
  const style = readPart("status.css");
  const script = SCRIPTS.map((name) => withoutModules(readPart(name))).join("\n");
  const html = readPart("status.html")
    .replace('<link rel="stylesheet" href="status.css">', () => `<style>${style}</style>`)
    .replace('<script type="module" src="status.js"></script>', () => `<script type="module">${script}</script>`);
  const policy = [
    "default-src 'none'",
    "base-uri 'none'",
    "connect-src 'self'",
    "form-action 'none'",
    "frame-ancestors 'none'",
    "img-src data:",
    `script-src '${sha256(script)}'`,
    `style-src '${sha256(style)}'`,
    "require-trusted-types-for 'script'",
    "trusted-types 'none'",
  ].join("; ");
  return {
    html,
    headers: {
      "content-type": "text/html; charset=utf-8",
      "content-security-policy": policy,
      "cache-control": "no-store",
      "referrer-policy": "no-referrer",
      "x-content-type-options": "nosniff",
    },
  };
}

/** A part as it goes into the document, which would end where it had an end tag of its own. */
function readPart(name: string): string {
  return readFileSync(new URL(name, PAGE_FOLDER), "utf8").trim();
}

/** All parts become one module, in which no name is taken twice. */
function withoutModules(source: string): string {
  return source
    .replace(/^\/\/ @ts-check\n/, "")
    .replace(/^import [^;]*;\n/gm, "")
    .replace(/^\/\*\* @import .*\*\/\n/gm, "")
    .replace(/^export (?=class|const|function|async)/gm, "");
}

function sha256(text: string): string {
  return `sha256-${createHash("sha256").update(text).digest("base64")}`;
}
