// @ts-check
import { AskError, ask } from "./connection.js";
import { byId, setText } from "./dom.js";

/** @import { CurrentRun } from "../src/daemon/daemon-view.ts" */

const KEY = "zk-backyp-token";
/** For a browser that keeps nothing for this page. */
let remembered = "";

function token() {
  try {
    return sessionStorage.getItem(KEY) ?? remembered;
  } catch {
    return remembered;
  }
}

/** @param {string} value the token, or "" to forget it */
function keepToken(value) {
  remembered = value;
  try {
    if (value === "") sessionStorage.removeItem(KEY);
    else sessionStorage.setItem(KEY, value);
  } catch {
    // It is remembered until the page is loaded anew.
  }
}

/**
 * @typedef {object} Question
 * @property {string} title
 * @property {string} text what will happen
 * @property {string} go what the button says
 */

/**
 * @param {Question} question
 * @param {boolean} needsToken
 * @param {string} problem
 * @returns {Promise<boolean>} whether it shall be done
 */
function confirmed({ title, text, go }, needsToken, problem) {
  const dialog = /** @type {HTMLDialogElement} */ (byId("ask"));
  const input = /** @type {HTMLInputElement} */ (byId("token"));
  const form = dialog.querySelector("form");
  setText(byId("ask-title"), title);
  setText(byId("ask-text"), text);
  setText(byId("ask-problem"), problem);
  setText(byId("ask-go"), go);
  byId("ask-token").hidden = !needsToken;
  input.required = needsToken;
  input.value = "";
  return new Promise((resolve) => {
    const ended = new AbortController();
    const { signal } = ended;
    let isYes = false;
    const onSubmit = (/** @type {Event} */ event) => {
      event.preventDefault();
      if (needsToken) keepToken(input.value.trim());
      isYes = true;
      dialog.close();
    };
    form?.addEventListener("submit", onSubmit, { signal });
    byId("ask-cancel").addEventListener("click", () => dialog.close(), { signal });
    dialog.addEventListener(
      "close",
      () => {
        ended.abort();
        input.value = "";
        resolve(isYes);
      },
      { signal },
    );
    dialog.showModal();
    if (needsToken) input.focus();
  });
}

/**
 * Has the daemon do something, with the token that this tab keeps, and asks for one where it has none or a wrong one.
 *
 * @param {string} path
 * @param {object} body
 * @param {Question} question
 * @param {boolean} isGrave whether to ask also when there is a token
 * @returns {Promise<CurrentRun | null>} what has begun; null if the person would rather not
 * @throws AskError
 */
export async function request(path, body, question, isGrave) {
  let problem = "";
  for (;;) {
    const needsToken = token() === "";
    if ((needsToken || isGrave) && !(await confirmed(question, needsToken, problem))) return null;
    try {
      return await ask(path, {
        method: "POST",
        headers: { authorization: `Bearer ${token()}`, "content-type": "application/json" },
        body: JSON.stringify(body),
      });
    } catch (error) {
      if (!(error instanceof AskError && error.status === 401)) throw error;
      keepToken("");
      problem = "The daemon does not take this token.";
    }
  }
}
