// @ts-check
/** Which key means what, and when a key is not meant for us. */

/** @typedef {"left" | "right" | "equal" | "skip" | "undo" | "toggle"} Command */

/** @type {Record<string, Command>} */
export const KEYS = {
  ArrowLeft: "left",
  ArrowRight: "right",
  ArrowUp: "equal",
  ArrowDown: "skip",
  Backspace: "undo",
  " ": "toggle",
};

/** Inputs that use the arrow keys, space or letters themselves. */
const FIELDS = "input, select, textarea, [contenteditable], [role=slider], dialog[open]";
/** What the space key presses by itself. */
const PRESSED_BY_SPACE = "button, summary, a[href]";

/**
 * What a keydown asks for; null where it is not for us.
 * @param {{key: string, ctrlKey: boolean, altKey: boolean, metaKey: boolean, shiftKey: boolean,
 *   target: {closest?: (selector: string) => unknown} | null}} event
 * @returns {Command | null}
 */
export function commandOf({ key, ctrlKey, altKey, metaKey, shiftKey, target }) {
  if (ctrlKey || altKey || metaKey || shiftKey || !Object.hasOwn(KEYS, key)) return null;
  if (target?.closest?.(FIELDS)) return null;
  if (key === " " && target?.closest?.(PRESSED_BY_SPACE)) return null;
  return KEYS[key];
}
