// @ts-check
/** Which key means what, and when a key is not meant for us. */

/**
 * @typedef {import("./state.js").Choice | "undo" | "toggle" | "replay" | "step-back" | "step-on" | "slower" | "faster" |
 *   "enlarge" | "back" | "trim" | "review" | "help"} Command
 */

/** @type {Record<string, Command>} */
export const KEYS = {
  ArrowLeft: "left",
  ArrowRight: "right",
  "Shift+ArrowLeft": "much-left",
  "Shift+ArrowRight": "much-right",
  ArrowUp: "equal",
  ArrowDown: "skip",
  Backspace: "undo",
  " ": "toggle",
  0: "replay",
  ",": "step-back",
  ".": "step-on",
  "-": "slower",
  "+": "faster",
  "=": "faster", // + without its shift
  e: "enlarge",
  Escape: "back",
  t: "trim",
  h: "review",
  "?": "help",
};

/** What the help lists, in this order. @type {{keys: string[], does: string, choice?: "equal" | "skip"}[]} */
export const HELP = [
  { keys: ["←", "→"], does: "That clip is better" },
  { keys: ["Shift ←", "Shift →"], does: "That clip is much better" },
  { keys: ["↑"], does: "Equally good", choice: "equal" },
  { keys: ["↓"], does: "Can’t tell", choice: "skip" },
  { keys: ["Backspace"], does: "Take the last answer back" },
  { keys: ["H"], does: "The last answers, to change one" },
  { keys: ["Space"], does: "Pause or play" },
  { keys: [",", "."], does: "One frame back or on" },
  { keys: ["0"], does: "From the start" },
  { keys: ["−", "+"], does: "Slower or faster" },
  { keys: ["E"], does: "Enlarge a clip" },
  { keys: ["T"], does: "Trim handles" },
  { keys: ["Esc"], does: "Back to both clips" },
  { keys: ["?"], does: "This list" },
];

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
  // a character has its shift in it already: ? and + are where the keyboard has them
  const name = key.length === 1 ? key.toLowerCase() : shiftKey ? `Shift+${key}` : key;
  if (ctrlKey || altKey || metaKey || !Object.hasOwn(KEYS, name)) return null;
  if (target?.closest?.(FIELDS)) return null;
  if (key === " " && target?.closest?.(PRESSED_BY_SPACE)) return null;
  return KEYS[name];
}
