// @ts-check
import { formatExact, formatLocal, formatRelative, formatUtc } from "./format.js";

/**
 * What is put into an element. A string becomes text and is never read as HTML.
 *
 * @typedef {Node | string | null | false} Child
 */

/**
 * @typedef {Record<string, string | number | boolean | null | ((event: Event) => void)>} Attributes null and false: left
 * out; a function: listens to the event of that name
 */

/**
 * @template {Element} E
 * @param {E} element
 * @param {Attributes} attributes
 * @param {Child[]} children
 * @returns {E}
 */
function furnish(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") element.addEventListener(name, value);
    else if (value !== null && value !== false) element.setAttribute(name, value === true ? "" : String(value));
  }
  element.append(...children.filter((child) => child !== null && child !== false));
  return element;
}

/**
 * @template {keyof HTMLElementTagNameMap} K
 * @param {K} tag
 * @param {Attributes} [attributes]
 * @param {Child[]} children
 * @returns {HTMLElementTagNameMap[K]}
 */
export function h(tag, attributes = {}, ...children) {
  return furnish(document.createElement(tag), attributes, children);
}

/**
 * @template {keyof SVGElementTagNameMap} K
 * @param {K} tag
 * @param {Attributes} [attributes]
 * @param {Child[]} children
 * @returns {SVGElementTagNameMap[K]}
 */
export function s(tag, attributes = {}, ...children) {
  return furnish(document.createElementNS("http://www.w3.org/2000/svg", tag), attributes, children);
}

/**
 * The element of the page with this id.
 *
 * @param {string} id
 * @returns {HTMLElement}
 */
export function byId(id) {
  const found = document.getElementById(id);
  if (found === null) throw new Error(`the page has no element ${id}`);
  return found;
}

/**
 * Changes a text only where it is another one: a live region says what is set again.
 *
 * @param {Element} element
 * @param {string} text
 */
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** @type {WeakMap<HTMLElement, string>} */
const shownIn = new WeakMap();

/**
 * Replaces what is in an element if what it shows has changed, and keeps the focus on what has the same `data-focus`.
 *
 * @param {HTMLElement} slot
 * @param {unknown} shown all that the content is made from
 * @param {() => Child[]} make
 */
export function refill(slot, shown, make) {
  const key = JSON.stringify(shown);
  if (shownIn.get(slot) === key) return;
  shownIn.set(slot, key);
  const { activeElement } = document;
  const focus =
    activeElement instanceof HTMLElement && slot.contains(activeElement) ? activeElement.dataset.focus : null;
  slot.replaceChildren(...make().filter((child) => child !== null && child !== false));
  if (!focus) return;
  const again = slot.querySelector(`[data-focus="${CSS.escape(focus)}"]`);
  if (again instanceof HTMLElement) again.focus();
}

/**
 * `12 h ago`, kept true by {@link refreshTimes}; the exact time is in its title.
 *
 * @param {string} iso
 */
export function relativeTime(iso) {
  return h("time", { datetime: iso, title: formatExact(iso), "data-relative": true }, formatRelative(iso));
}

/**
 * `Mon 23 Nov, 02:00 (01:00 UTC)`.
 *
 * @param {string} iso
 */
export function absoluteTime(iso) {
  const utc = formatUtc(iso);
  const text = utc === null ? `${formatLocal(iso)} UTC` : `${formatLocal(iso)} (${utc})`;
  return h("time", { datetime: iso, title: formatExact(iso) }, text);
}

/**
 * `Mon 23 Nov, 02:00`, for where it stands beside others; its title has UTC.
 *
 * @param {string} iso
 */
export function localTime(iso) {
  return h("time", { datetime: iso, title: formatExact(iso) }, formatLocal(iso));
}

/** Brings all relative times of the page up to date. */
export function refreshTimes() {
  for (const element of document.querySelectorAll("time[data-relative]")) {
    setText(element, formatRelative(/** @type {HTMLTimeElement} */ (element).dateTime));
  }
}

/**
 * What a state looks like: each has a shape of its own, not only a colour.
 *
 * @typedef {"ok" | "warn" | "bad" | "unknown" | "busy"} Tone
 */

const OUTLINES = {
  ok: "M8 1a7 7 0 1 0 0 14A7 7 0 0 0 8 1Z",
  warn: "M8 1.2 15.4 14.5H.6Z",
  bad: "M5 1h6l4 4v6l-4 4H5l-4-4V5Z",
  unknown: "M3.5 1h9A2.5 2.5 0 0 1 15 3.5v9a2.5 2.5 0 0 1-2.5 2.5h-9A2.5 2.5 0 0 1 1 12.5v-9A2.5 2.5 0 0 1 3.5 1Z",
  busy: "M8 1a7 7 0 1 0 0 14A7 7 0 0 0 8 1Z",
};

const SIGNS = {
  ok: "m4.9 8.3 2.2 2.2 4-4.6",
  warn: "M8 6v4M8 12.2v.1",
  bad: "m5.6 5.6 4.8 4.8m0-4.8-4.8 4.8",
  unknown: "M6 6.2a2 2 0 1 1 2.9 1.8c-.6.3-.9.7-.9 1.4M8 11.8v.1",
  busy: "M8 4.5V8l2.4 1.6",
};

/**
 * A shape with a sign in it, for beside a word that says the same.
 *
 * @param {Tone} tone
 */
export function toneIcon(tone) {
  return s(
    "svg",
    { class: "icon", viewBox: "0 0 16 16", "aria-hidden": "true", "data-tone": tone },
    s("path", { class: "icon-outline", d: OUTLINES[tone] }),
    s("path", { class: "icon-sign", d: SIGNS[tone] }),
  );
}

const FAVICON_FILLS = { ok: "%231a7f4b", warn: "%23b26a00", bad: "%23b3261e", unknown: "%235a6675", busy: "%231f5fbf" };

/**
 * The same as an address, for the tab.
 *
 * @param {Tone} tone
 */
export function toneIconUrl(tone) {
  const sign = `fill='none' stroke='white' stroke-width='2' stroke-linecap='round'`;
  return `data:image/svg+xml,<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 16 16'><path d='${OUTLINES[tone]}' fill='${FAVICON_FILLS[tone]}'/><path d='${SIGNS[tone]}' ${sign}/></svg>`;
}
