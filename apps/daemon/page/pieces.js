// @ts-check
import { h } from "./dom.js";

/** @import { Child } from "./dom.js" */

/**
 * @param {string} term
 * @param {Child[]} children
 */
export function fact(term, ...children) {
  return h("div", {}, h("dt", {}, term), h("dd", {}, ...children));
}

/** @param {Child[]} children */
export function small(...children) {
  return h("span", { class: "small" }, ...children);
}

/** @param {string} text */
export function code(text) {
  return h("code", {}, text);
}

/**
 * An id that is broken before its time, where it has to be broken.
 *
 * @param {string} id
 */
export function idOf(id) {
  const at = id.lastIndexOf("-") + 1;
  return h("code", {}, id.slice(0, at), h("wbr"), id.slice(at));
}

/**
 * What stands between backticks becomes code.
 *
 * @param {string} text
 */
export function withCode(text) {
  return text.split("`").map((part, index) => (index % 2 === 1 ? code(part) : part));
}
