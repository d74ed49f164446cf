// @ts-check
/** The keys that stand on buttons, as they are. */

import { write } from "./dom.js";
import { keyOf, labelOf, shortOf } from "./keys.js";

/** @typedef {import("./keys.js").Keys} Keys @typedef {import("./keys.js").Remappable} Remappable */

/** What a button does, with its key where keys are on. @param {string} does @param {Keys} keys @param {Remappable} command */
export function titleOf(does, keys, command) {
  return keys.on ? `${does} (${labelOf(keyOf(keys, command))})` : does;
}

/** All elements that name a command: a <kbd> is its key, another one has it in its title. @param {Keys} keys */
export function renderHints(keys) {
  for (const element of document.querySelectorAll("[data-key]")) {
    if (!(element instanceof HTMLElement)) continue;
    const command = /** @type {Remappable} */ (element.dataset.key);
    if (element.localName === "kbd") {
      write(element, shortOf(keyOf(keys, command)));
      element.hidden = !keys.on;
    } else element.title = titleOf(element.dataset.does ?? "", keys, command);
  }
}
